"""The dashboard: a web page on the loopback interface for one operator and many agents.

A client of the daemon like any other, through the SDK. The browser gets events by `stream`, everything else by `api`;
`guard` stands in front of both.
"""
