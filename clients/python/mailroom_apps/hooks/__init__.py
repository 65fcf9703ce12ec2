"""The hook `mailroom hook` — shows an agent its mail between its steps, and stays silent when there is none.

One run: `command` reads the event (`event`), lists the inbox directories (`mailroom.inbox_directory`) and compares them
with what this session has been shown (`session_state`, `unseen`). A silent run ends there. Otherwise `delivery` reads
the inbox files, turns them into a text (`report`), writes it, records that it was shown (`session_update`) and informs
the daemon (`daemon_calls`). It leaves out mail that a tool has just shown (`tool_result`). `mailroom doorbell`
(`doorbell`, `mail_watcher`, `ringing_watcher`) uses the same parts.
Above: `mailroom_apps.__main__`, before the command line's framework is imported.
Invariant: a silent run imports only these modules, two light ones of the SDK and a handful of the standard library;
neither pathlib nor dataclasses, because every tool call of every agent pays for each millisecond.
"""
