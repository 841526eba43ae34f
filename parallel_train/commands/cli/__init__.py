"""What is typed: each command's options, its help and its examples. What a command does is in commands/<name>.py."""
