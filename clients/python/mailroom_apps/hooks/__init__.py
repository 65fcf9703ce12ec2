"""The hook `mailroom hook` — shows an agent its mail between its steps, and stays out of the way when there is none.

Way of one run: `command` reads the event (`event`), lists the inbox directories (`inbox`) and compares them with what
this session was shown (`memory`, `news`); that is all of a silent run. Else `showing` reads letters (`letters`), makes
them into a text (`report`), writes it out and remembers it (`keeper`), and the daemon is told (`notices`).
Above: `mailroom_apps.__main__`, before the command line's framework is imported. `mailroom_apps.hooks.doorbell` uses the same parts.
Invariant: a silent run imports nothing but these modules and a handful of the standard library, no pathlib and no
dataclasses among them: each millisecond is paid at every tool call of every agent.
"""
