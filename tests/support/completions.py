"""The completions of timelapsectl for zsh and fish, written from what its parser understands.

That of bash is written by hand. Run as a program this module writes both files again:
``.venv-test/bin/python tests/support/completions.py``.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final, NamedTuple

from tree import SYSTEMD

from plantimager.timelapse.cli.parser import build_parser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

COMPLETIONS: Final = SYSTEMD / "completion"

FIELDS: Final = ("SLOT=", "ATTEMPT=", "ACTION=", "STATE=", "SCAN_ID=", "TIMELAPSE_ID=")
"""Fields of the daemon's journal entries: `log` takes them, and no parser of ours knows them."""

TIMELINE_NAME: Final = "a timelapse that has ended; default: the last one"
"""The help of the argument that names one in the archive."""

HEAD: Final = (
    "Completion of timelapsectl(1) for {}, written by tests/support/completions.py from what the program knows."
)


class Word(NamedTuple):
    """One option, or one argument without a name."""

    names: Sequence[str]
    """Empty for an argument."""
    help: str
    value: str
    """What stands for the value; empty for an option that has none."""
    values: Sequence[str]
    """All values there are, where they are few."""
    many: bool

    @property
    def kind(self) -> str:
        """What `timelapsectl names` is asked for; empty where the value has no names."""
        return "rigs" if [*self.names] == ["--rig"] else "archives" if self.help == TIMELINE_NAME else ""

    @property
    def is_toml(self) -> bool:
        """Whether the value is a file that the program reads."""
        return self.value == "FILE" and [*self.names] in ([], ["--config"])

    @property
    def is_file(self) -> bool:
        """Whether the value is any file."""
        return self.value in ("DIR", "FILE", "PATH")


class Command(NamedTuple):
    """What may be said behind a command, or behind nothing."""

    words: tuple[Word, ...]
    further: Mapping[str, str]
    """Its commands, with their help."""


def commands(parser: argparse.ArgumentParser, said: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Yield every command by the words that lead to it, the program itself by none."""
    words, further = [], {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            further = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, inner in action.choices.items():
                yield from commands(inner, (*said, name))
        else:
            takes_none = action.nargs == 0
            value = "" if takes_none else str(action.metavar or action.dest.upper())
            values = [] if takes_none or action.choices is None else [*map(str, action.choices)]
            words.append(Word(action.option_strings, action.help or "", value, values, action.nargs == "*"))
    yield said, Command(tuple(words), further)


def common_words(known: Iterable[Command]) -> list[Word]:
    """Return what may be said behind every command but `log`, whose arguments are journalctl's."""
    first, *others = (command.words for command in known if command.words[0].names)
    return [word for word in first if all(word in words for words in others)]


# --- zsh --------------------------------------------------------------------------------------


def zsh() -> str:
    """Return the file for zsh."""
    known = dict(commands(build_parser()))
    common = common_words(known.values())
    return "\n".join(
        [
            "#compdef timelapsectl",
            f"# {HEAD.format('zsh')}",
            "",
            *("typeset -ga _timelapsectl_common=(", *(f"    {_zsh_spec(word)}" for word in common), ")", ""),
            ZSH_NAMES,
            ZSH_FIELDS.format(" ".join(FIELDS)),
            *(_zsh_function(said, command, common) for said, command in sorted(known.items())),
            '_timelapsectl "$@"',
            "",
        ]
    )


ZSH_NAMES: Final = """\
# The names of one kind, for the service that the words so far mean: rigs, archives, slots.
__timelapsectl_names() {
    local -a whose
    local index
    for index in {1..$(( $#_timelapsectl_words - 1 ))}; do
        case $_timelapsectl_words[index] in
        --system | --user) whose+=($_timelapsectl_words[index]) ;;
        --rig) (( index + 1 < _timelapsectl_current )) && whose+=(--rig $_timelapsectl_words[index+1]) ;;
        esac
    done
    compadd "${@[1,-2]}" -- ${(f)"$(timelapsectl $whose names $@[-1] 2>/dev/null)"}
}
"""


ZSH_FIELDS: Final = """\
__timelapsectl_fields() {{
    if compset -P SLOT=; then
        __timelapsectl_names slots
    else
        compadd -S "" -- {}
    fi
}}
"""


def _zsh_function(said: tuple[str, ...], command: Command, common: Sequence[Word]) -> str:
    name = "_".join(("_timelapsectl", *said))
    shared = "" if said == ("log",) else " $_timelapsectl_common"
    specs = [_zsh_spec(word) for word in command.words if word not in common]
    if said == ("log",):
        specs = ["'*:field:__timelapsectl_fields'"]
    if not command.further:
        return f"{name}() {{\n{_arguments(f'_arguments -s{shared}', specs)}}}\n"
    specs += ["'1:command:->command'", "'*::argument:->argument'"]
    described = "\n".join(f"            '{_zsh_text(f'{word}:{text}')}'" for word, text in command.further.items())
    remember = (
        "" if said else "    typeset -ga _timelapsectl_words=($words)\n    typeset -g _timelapsectl_current=$CURRENT\n"
    )
    return f"""{name}() {{
{remember}    local curcontext=$curcontext state line
    local -a further
{_arguments(f"_arguments -C -s{shared}", specs)}\
    case $state in
    command)
        further=(
{described}
        )
        _describe command further
        ;;
    argument) (( $+functions[{name}_$words[1]] )) && {name}_$words[1] ;;
    esac
}}
"""


def _arguments(call: str, specs: Sequence[str]) -> str:
    return " \\\n        ".join((f"    {call}", *specs)) + "\n"


def _zsh_spec(word: Word) -> str:
    if word.kind:
        option = f"{word.names[0]}[{_zsh_text(word.help, brackets=True)}]" if word.names else ""
        return f"'{option}:{word.value}:__timelapsectl_names {word.kind}'"
    values = f"({' '.join(word.values)})" if word.values else '_files -g "*.toml"' if word.is_toml else "_files"
    value = f":{word.value}:{values if word.values or word.is_file else ' '}" if word.value else ""
    if not word.names:
        return f"'{'*' if word.many else ''}{value}'"
    help_ = _zsh_text(word.help, brackets=True)
    if len(word.names) == 1:
        return f"'{word.names[0]}[{help_}]{value}'"
    return f"'({' '.join(word.names)})'{{{','.join(word.names)}}}'[{help_}]{value}'"


def _zsh_text(text: str, *, brackets: bool = False) -> str:
    text = text.replace("'", "'\\''")
    return text.replace("[", "\\[").replace("]", "\\]") if brackets else text


# --- fish -------------------------------------------------------------------------------------

_FISH_HEAD: Final = """\
# {head}

function __timelapsectl_at --description 'Whether these are the command and the action so far'
    set -l said
    set -l is_value false
    set -l words (commandline -opc)
    for word in $words[2..]
        if $is_value
            set is_value false
        else if contains -- $word --rig --config
            set is_value true
        else if not string match --quiet -- '-*' $word
            set -a said $word
        end
    end
    if contains -- "$said[1]" datasets rig
        set said $said[1..2]
    else
        set said $said[1]
    end
    test "$said" = "$argv"
end

function __timelapsectl_names --description 'The names of one kind, for the service that the words so far mean'
    set -l whose
    set -l words (commandline -opc)
    set -l is_name false
    for word in $words[2..]
        if $is_name
            set -a whose --rig $word
            set is_name false
        else if contains -- $word --system --user
            set -a whose $word
        else if test $word = --rig
            set is_name true
        end
    end
    timelapsectl $whose names $argv 2>/dev/null
end

complete -c timelapsectl --no-files
"""


def fish() -> str:
    """Return the file for fish."""
    known = dict(commands(build_parser()))
    common = common_words(known.values())
    lines = [_FISH_HEAD.format(head=HEAD.format("fish"))]
    lines += [
        line for word in common for line in _fish_lines("complete -c timelapsectl -n 'not __timelapsectl_at log'", word)
    ]
    for said, command in sorted(known.items()):
        at = f"complete -c timelapsectl -n '{' '.join(('__timelapsectl_at', *said))}'"
        lines += [f"{at} -a {word} -d '{_fish_text(text)}'" for word, text in command.further.items()]
        lines += [line for word in command.words if word not in common for line in _fish_lines(at, word)]
        if said == ("log",):
            lines += [f"{at} -a '{' '.join(FIELDS)}'", f"{at} -a 'SLOT=(__timelapsectl_names slots)'"]
    return "\n".join([*lines, ""])


def _fish_lines(at: str, word: Word) -> Iterator[str]:
    if word.kind:
        values = f" -a '(__timelapsectl_names {word.kind})'"
    elif word.is_toml:
        values = " -a '(__fish_complete_suffix .toml)'"
    elif word.values:
        values = f" -a '{' '.join(word.values)}'"
    else:
        values = " --force-files" if word.is_file and word.names else ""
    names = "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in word.names)
    if names or values:
        takes = "" if not (names and word.value) else " -r" if "--force-files" in values else " -x"
        yield f"{at}{names}{takes}{values} -d '{_fish_text(word.help)}'"


def _fish_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


FILES: Final[Mapping[Path, Callable[[], str]]] = {
    COMPLETIONS / "_timelapsectl": zsh,
    COMPLETIONS / "timelapsectl.fish": fish,
}
"""The files, and what writes each."""

if __name__ == "__main__":
    for file, write in FILES.items():
        file.write_text(write())
