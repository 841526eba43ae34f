"""Run a command as the foreground of the terminal that is its standard input (on_terminal.py COMMAND…)."""

import fcntl
import os
import sys
import termios

os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
