"""Markup — Markdown as a small tree, from which the page creates elements. No HTML is made anywhere.

A node is text, or a list: the name of the element, its attributes, its children. Raw HTML in Markdown is shown as text,
an image becomes a link, and a link leads to http, https or mailto only.
Markdown can hide text from a reader: in titles, in cells beyond the last column, below the depth that a parser follows.
Agents read the source, so a message whose tree lacks a word of it is shown as plain text.
Invariant: names are those of ELEMENTS, attributes only `href` of a safe link and `start` of a list.
"""

__all__ = ["ELEMENTS", "Node", "parse_markdown", "plain"]

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from markdown_it import MarkdownIt
from markdown_it.token import Token

Node: TypeAlias = "str | list[Any]"

_BLOCKS = ("blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "ul")
_TABLES = ("table", "tbody", "td", "th", "thead", "tr")
ELEMENTS = frozenset((*_BLOCKS, *_TABLES, "a", "br", "code", "em", "s", "span", "strong"))
MAX_CHARS = 32 * 1024  # of formatted text; the rest is shown as plain text
MAX_BRACKETS = 500  # of each unclosed one the parser looks for the end again: 60,000 took ten seconds
MAX_DEPTH = 40  # nested elements; the parser drops what is deeper
_SAFE_LINK = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x20]+", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_LIST_NUMBER = re.compile(r"(?m)^([\s>*+-]*)\d{1,9}[.)]")
_parser = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_DEPTH}).enable(["table", "strikethrough"])
_parser.disable("reference")  # its definitions do not appear in the text


def parse_markdown(text: str) -> list[Node]:
    """Returns the tree of up to 32 Ki characters of Markdown; what is beyond follows as one `pre`."""
    if text.count("[", 0, MAX_CHARS) > MAX_BRACKETS:
        return plain(text)
    nodes = _build(_parser.parse(text[:MAX_CHARS]))
    if _words_of(_LIST_NUMBER.sub(r"\1", text[:MAX_CHARS])) - _words_of("\n".join(_texts(nodes))):
        return plain(text)
    rest = text[MAX_CHARS:]
    return [*nodes, ["pre", {}, [rest]]] if rest else nodes


def plain(text: str) -> list[Node]:
    """Returns the tree of a text without any formatting."""
    return [["pre", {}, [text]]]


def _words_of(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text))


def _texts(nodes: Sequence[Node]) -> Iterator[str]:
    """Yields everything of a tree that a reader sees: texts, and the targets of links."""
    for node in nodes:
        if isinstance(node, str):
            yield node
        else:
            yield node[1].get("href", "")
            yield from _texts(node[2])


def _build(tokens: Sequence[Token]) -> list[Node]:
    root: list[Node] = []
    stack: list[list[Node]] = [root]
    for token in tokens:
        if token.nesting == 1:
            children: list[Node] = []
            _open(stack, token, children)
            stack.append(children)
        elif token.nesting == -1:
            if len(stack) > 1:
                stack.pop()
        else:
            stack[-1].extend(_leaf(token))
    return root


def _open(stack: list[list[Node]], token: Token, children: list[Node]) -> None:
    if token.tag == "p" and token.hidden:  # of a tight list: its text belongs to the item
        stack[-1].append(["span", {}, children])
    elif token.tag in ELEMENTS:
        stack[-1].append([token.tag, _attributes(token), children])
        if title := token.attrs.get("title"):
            children.append(f"“{title}” ")
    else:
        stack[-1].append(["span", {}, children])


def _leaf(token: Token) -> list[Node]:
    match token.type:
        case "inline":
            return _build(token.children or [])
        case "code_block" | "fence":
            return [["pre", {}, [f"{token.info.strip()}\n{token.content}" if token.info.strip() else token.content]]]
        case "code_inline":
            return [["code", {}, [token.content]]]
        case "softbreak":
            return ["\n"]
        case "hardbreak":
            return [["br", {}, []]]
        case "hr":
            return [["hr", {}, []]]
        case "image":
            return [["a", _link(str(token.attrs.get("src", ""))), [token.content or "image"]]]
        case _:
            return [token.content] if token.content else []


def _attributes(token: Token) -> dict[str, Any]:
    if token.tag == "a":
        return _link(str(token.attrs.get("href", "")))
    if token.tag == "ol" and "start" in token.attrs:
        return {"start": int(token.attrs["start"])}
    return {}


def _link(target: str) -> dict[str, Any]:
    return {"href": target} if _SAFE_LINK.fullmatch(target) else {}
