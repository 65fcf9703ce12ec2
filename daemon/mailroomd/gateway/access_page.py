"""access_page — SECURITY.md's table of who may call what, made of the rows of `gateway.rpcs`.

`scripts/access-docs` writes it, and `make check` fails when it is out of date.
"""

__all__ = ["access_table"]

from mailroomd.gateway.rpcs import OWN_SERVICES, RPCS

_HEAD = "| RPC | owner, administrator | agent's token | without a token, over TCP |\n|---|---|---|---|\n"


def access_table() -> str:
    """Returns the table in Markdown; RPCs of one package with the same answers share a row."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for rpc in RPCS:
        package = "" if rpc.service_name in OWN_SERVICES else f"{rpc.service_name.rpartition('.')[0]}: "
        answers = (rpc.rule.agents_may, "yes" if rpc.rule.is_public else "no")
        names.setdefault((package, *answers), []).append(rpc.name)
    rows = [
        f"| {package}{', '.join(group)} | yes | {agents} | {anyone} |\n"
        for (package, agents, anyone), group in names.items()
    ]
    return "".join([_HEAD, *rows])
