from parallel_train.commands.app import main

main()
