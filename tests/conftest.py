"""Ctrl-C counts in tests also where pytest runs in the background of a script: what is started there ignores it."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
