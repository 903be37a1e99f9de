# Completion of timelapsectl(1) for bash. Written by hand: it is one table, and needs nothing but bash.
# A test holds it to what the program itself understands.

# Offers the names of one kind, for the service that the words so far mean: rigs, archives, slots.
_timelapsectl_names() {
    local found
    found=$(timelapsectl "${whose[@]}" names "$1" 2>/dev/null) || found=''
    mapfile -t COMPREPLY < <(compgen -P "${3:-}" -W "$found" -- "$2")
}

_timelapsectl() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local common='--help --system --user --rig --config'
    local commands='check preview start amend pause resume cancel status rig rigs names log timeline verify datasets deliver notify demo'
    local actions='check home goto snapshot try lights'
    local word command='' action='' index whose=()

    # The command is the first word that neither is an option nor belongs to one; those of `rig` and `datasets` have an action.
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        case $word in
        --rig)
            ((index++))
            ((index == COMP_CWORD)) || whose+=(--rig "${COMP_WORDS[index]}")
            ;;
        --config) ((index++)) ;;
        --system | --user) whose+=("$word") ;;
        -*) ;;
        *)
            if [[ $command == @(rig|datasets) ]]; then
                action=$word
                break
            fi
            command=$word
            [[ $command == @(rig|datasets) ]] || break
            ;;
        esac
    done

    COMPREPLY=()
    if [[ $command != log ]]; then
        case $previous in
        --config | --svg | --output)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        --rig)
            _timelapsectl_names rigs "$current"
            return
            ;;
        --why | --until | --for | --forget | -n | --records | --x | --y | --pan | --camera | --position) return ;;
        esac
    fi

    local options=''
    case $command$action in
    '') options="$common --version $commands" ;;
    check | start | resume) options=$common ;;
    preview) options="$common --all" ;;
    amend) options="$common --yes" ;;
    pause) options="$common --until --for" ;;
    cancel) options="$common --why --yes" ;;
    status) options="$common --json --follow --records -n" ;;
    timeline) options="$common --svg" ;;
    deliver) options="$common --retry --forget" ;;
    notify) options="$common --test" ;;
    rigs) options="$common --json" ;;
    names) options="$common rigs archives slots" ;;
    verify | demo) options=$common ;;
    datasets) options="$common migrate" ;;
    datasetsmigrate) options="$common --dry-run" ;;
    rig) options="$common $actions" ;;
    rigcheck) options="$common --json" ;;
    righome) options=$common ;;
    riggoto) options="$common --x --y --pan" ;;
    rigsnapshot) options="$common --camera --output" ;;
    rigtry) options="$common --position" ;;
    riglights) options="$common on off" ;;
    log)
        if [[ $current == SLOT=* ]]; then
            _timelapsectl_names slots "${current#SLOT=}" SLOT=
            return
        elif [[ $previous == = && ${COMP_WORDS[COMP_CWORD - 2]} == SLOT ]]; then
            _timelapsectl_names slots "$current"
            return
        elif [[ $current == = && $previous == SLOT ]]; then
            _timelapsectl_names slots ''
            return
        fi
        # journalctl's, the useful ones, and our own fields
        options='--help -f -x -n -p --since= --until= SLOT= ATTEMPT= ACTION= STATE= SCAN_ID= TIMELAPSE_ID='
        [[ $current == -* || $current == [A-Z]* ]] && compopt -o nospace 2>/dev/null
        ;;
    esac

    if [[ $command$action == datasetsmigrate && $current != -* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
    elif [[ -z $command || $command == @(rig|datasets|log|names) || $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [[ $command == timeline ]]; then
        _timelapsectl_names archives "$current"
    elif [[ $command == @(check|preview|start) ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -X '!*.toml' -- "$current"; compgen -d -- "$current")
    fi
}

complete -F _timelapsectl timelapsectl
