"""Command lines read as the real tools read them: X's toolkit options, and GNU's long options."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class BadOption(Exception):  # noqa: N818 (the personas make of it what the real tool would say)
    """An option that the real tool refuses, in the words of getopt_long, without the program's name."""


class Options:
    """What was found: options by full name (a flag's value is empty), and the words that are none."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.words: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self.found

    def add(self, name: str, value: str = "") -> None:
        """Note an option; one that is given twice counts where, and as what, it was given last."""
        self.found.pop(name, None)
        self.found[name] = value

    def get(self, name: str) -> str:
        """Return an option's value, the last one if it was given twice; empty if it was not given."""
        return self.found.get(name, "")

    def last(self, *names: str) -> str:
        """Return which of these was given last; empty if none was."""
        return next((name for name in reversed(list(self.found)) if name in names), "")

    def flags(self) -> list[str]:
        """Return the names of the options given: what a log may hold of a command line."""
        return ["-" + name for name in self.found]


def parse_x(arguments: list[str], known: Mapping[str, bool], exact: tuple[str, ...] = ()) -> Options:
    """Read options as XrmParseCommand does: one dash, any unambiguous abbreviation, the value in the next word.

    What it does not know, an option that lacks its value included, stays as a word.

    Args:
        arguments: Without the program's name.
        known: Full names without the dash; whether they take a value.
        exact: Those of them that can't be abbreviated.
    """
    options = Options()
    rest = iter(arguments)
    for word in rest:
        name = word[1:]
        matches = [name] if name in known else [full for full in known if full.startswith(name) and full not in exact]
        if not word.startswith("-") or not name or len(matches) != 1:
            options.words.append(word)
        elif known[matches[0]]:
            value = next(rest, None)
            if value is None:
                options.words.append(word)
            else:
                options.add(matches[0], value)
        else:
            options.add(matches[0])
    return options


def parse_gnu(arguments: list[str], known: Mapping[str, str], ends: tuple[str, ...] = ()) -> Options:
    """Read options as getopt_long does: `-nt TYPE`, `-tTYPE`, `--type=TYPE`, `--ty TYPE`, words in between, `--`.

    Args:
        arguments: Without the program's name.
        known: Full names; the one-letter form, followed by `:` if a value is taken.
        ends: Options after which the real tool looks at nothing else, such as help.

    Raises:
        BadOption: An option is unknown, ambiguous, lacks its value or has one that it does not take.
    """
    options = Options()
    letters = {form[0]: name for name, form in known.items() if form[:1] not in ("", ":")}
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            options.words.extend(rest)
        elif word.startswith("--"):
            _long(options, word[2:], rest, known)
        elif word.startswith("-") and word != "-":
            _cluster(options, word[1:], rest, known, letters)
        else:
            options.words.append(word)
        if any(name in options for name in ends):
            return options
    return options


def _long(options: Options, word: str, rest: Iterator[str], known: Mapping[str, str]) -> None:
    typed, equals, value = word.partition("=")
    matches = [typed] if typed in known else [full for full in known if full.startswith(typed)]
    if not matches:
        raise BadOption("unrecognized option '--%s'" % word)
    if len(matches) > 1:
        names = "".join(" '--%s'" % match for match in matches)
        raise BadOption("option '--%s' is ambiguous; possibilities:%s" % (word, names))
    name = matches[0]
    if equals and not known[name].endswith(":"):
        raise BadOption("option '--%s' doesn't allow an argument" % name)
    if known[name].endswith(":") and not equals:
        given = next(rest, None)
        if given is None:
            raise BadOption("option '--%s' requires an argument" % name)
        value = given
    options.add(name, value)


def _cluster(
    options: Options, cluster: str, rest: Iterator[str], known: Mapping[str, str], letters: Mapping[str, str]
) -> None:
    while cluster:
        letter, cluster = cluster[0], cluster[1:]
        name = letters.get(letter, "")
        if not name:
            raise BadOption("invalid option -- '%s'" % letter)
        if not known[name].endswith(":"):
            options.add(name)
            continue
        value = cluster or next(rest, None)
        if value is None:
            raise BadOption("option requires an argument -- '%s'" % letter)
        options.add(name, value)
        return
