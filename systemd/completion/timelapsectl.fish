# Completion of timelapsectl(1) for fish, written by tests/support/completions.py from what the program knows.

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

complete -c timelapsectl -n 'not __timelapsectl_at log' -s h -l help -d 'show this help message and exit'
complete -c timelapsectl -n 'not __timelapsectl_at log' -l system -d 'the system service\'s'
complete -c timelapsectl -n 'not __timelapsectl_at log' -l user -d 'your own service\'s'
complete -c timelapsectl -n 'not __timelapsectl_at log' -l rig -x -a '(__timelapsectl_names rigs)' -d 'that of one of several rigs on this host'
complete -c timelapsectl -n 'not __timelapsectl_at log' -l config -x -a '(__fish_complete_suffix .toml)' -d 'use this timelapsed.toml and look for no other'
complete -c timelapsectl -n '__timelapsectl_at' -a check -d 'say what is wrong with configuration and definition, all of it at once'
complete -c timelapsectl -n '__timelapsectl_at' -a preview -d 'show when the slots of a definition would be, without starting it'
complete -c timelapsectl -n '__timelapsectl_at' -a start -d 'have a timelapse taken up'
complete -c timelapsectl -n '__timelapsectl_at' -a amend -d 'have another definition take the place of what is still to come of the timelapse'
complete -c timelapsectl -n '__timelapsectl_at' -a pause -d 'have slots skipped that fall due from now on, until resume; a scan under way is finished'
complete -c timelapsectl -n '__timelapsectl_at' -a resume -d 'go on with a timelapse that is paused'
complete -c timelapsectl -n '__timelapsectl_at' -a cancel -d 'end the timelapse before its last slot; this can\'t be undone'
complete -c timelapsectl -n '__timelapsectl_at' -a status -d 'show how the timelapse goes, whether or not the daemon runs'
complete -c timelapsectl -n '__timelapsectl_at' -a log -d 'show the daemon\'s lines in the journal'
complete -c timelapsectl -n '__timelapsectl_at' -a timeline -d 'draw the slots, planned against taken: a row a day, a mark a slot'
complete -c timelapsectl -n '__timelapsectl_at' -a verify -d 'look for damage in store, archive and datasets; nothing is changed'
complete -c timelapsectl -n '__timelapsectl_at' -a datasets -d 'bring datasets of earlier versions to the present layout'
complete -c timelapsectl -n '__timelapsectl_at' -a deliver -d 'show what the relay has delivered, and what waits'
complete -c timelapsectl -n '__timelapsectl_at' -a notify -d 'show which messages and heartbeat the relay sends, or send a test'
complete -c timelapsectl -n '__timelapsectl_at' -a rig -d 'try the rig by hand, between scans'
complete -c timelapsectl -n '__timelapsectl_at' -a rigs -d 'show every rig of this host, a line each'
complete -c timelapsectl -n '__timelapsectl_at' -a names -d 'print the names of what there is, one a line: for completion and scripts'
complete -c timelapsectl -n '__timelapsectl_at' -a demo -d 'watch a timelapse of half a minute, with a power cut in the middle; needs no rig'
complete -c timelapsectl -n '__timelapsectl_at' -l version -d 'say which version this is, and exit'
complete -c timelapsectl -n '__timelapsectl_at amend' -a '(__fish_complete_suffix .toml)' -d 'the definition, of the same name'
complete -c timelapsectl -n '__timelapsectl_at amend' -l yes -d 'don\'t ask, also at a terminal'
complete -c timelapsectl -n '__timelapsectl_at cancel' -l why -x -d 'the reason, for the record'
complete -c timelapsectl -n '__timelapsectl_at cancel' -l yes -d 'don\'t ask, also at a terminal'
complete -c timelapsectl -n '__timelapsectl_at check' -a '(__fish_complete_suffix .toml)' -d 'definitions, or a timelapsed.toml'
complete -c timelapsectl -n '__timelapsectl_at datasets' -a migrate -d 'bring their metadata to the present layout; no picture is touched'
complete -c timelapsectl -n '__timelapsectl_at datasets migrate' -l dry-run -d 'change nothing, and say what would be changed'
complete -c timelapsectl -n '__timelapsectl_at deliver' -l retry -d 'try again at once what waits, and what was refused'
complete -c timelapsectl -n '__timelapsectl_at deliver' -l forget -x -d 'compare a dataset again, or all of a target'
complete -c timelapsectl -n '__timelapsectl_at log' -a 'SLOT= ATTEMPT= ACTION= STATE= SCAN_ID= TIMELAPSE_ID='
complete -c timelapsectl -n '__timelapsectl_at log' -a 'SLOT=(__timelapsectl_names slots)'
complete -c timelapsectl -n '__timelapsectl_at names' -a 'rigs archives slots' -d 'of which kind'
complete -c timelapsectl -n '__timelapsectl_at notify' -l test -d 'send a test message, and say which service took it'
complete -c timelapsectl -n '__timelapsectl_at pause' -l until -x -d 'and go on by itself then: 2026-06-22T14:00, or 14:00'
complete -c timelapsectl -n '__timelapsectl_at pause' -l for -x -d 'and go on by itself after that: 90min, 2h30'
complete -c timelapsectl -n '__timelapsectl_at preview' -a '(__fish_complete_suffix .toml)' -d 'the definition'
complete -c timelapsectl -n '__timelapsectl_at preview' -l all -d 'a line for every slot'
complete -c timelapsectl -n '__timelapsectl_at rig' -a check -d 'talk to every part of the rig, and say what answers'
complete -c timelapsectl -n '__timelapsectl_at rig' -a home -d 'home the arm'
complete -c timelapsectl -n '__timelapsectl_at rig' -a goto -d 'send the arm somewhere; what isn\'t named stays as it is'
complete -c timelapsectl -n '__timelapsectl_at rig' -a snapshot -d 'take a picture from where the arm is, in the light there is'
complete -c timelapsectl -n '__timelapsectl_at rig' -a try -d 'take one scan now, outside the schedule, and say how long it took and how large it is'
complete -c timelapsectl -n '__timelapsectl_at rig' -a lights -d 'switch to the light of a scan, or back to the plant\'s own'
complete -c timelapsectl -n '__timelapsectl_at rig check' -l json -d 'the same facts for programs'
complete -c timelapsectl -n '__timelapsectl_at rig goto' -l x -x -d 'how far along'
complete -c timelapsectl -n '__timelapsectl_at rig goto' -l y -x -d 'how far across'
complete -c timelapsectl -n '__timelapsectl_at rig goto' -l pan -x -d 'where the turntable turns'
complete -c timelapsectl -n '__timelapsectl_at rig lights' -a 'on off' -d 'of the scan light'
complete -c timelapsectl -n '__timelapsectl_at rig snapshot' -l camera -x -d 'by this camera; default: by each'
complete -c timelapsectl -n '__timelapsectl_at rig snapshot' -l output -r --force-files -d 'a file, or a directory (default: the current one)'
complete -c timelapsectl -n '__timelapsectl_at rig try' -l position -x -d 'only this one of the path, from 1'
complete -c timelapsectl -n '__timelapsectl_at rigs' -l json -d 'the same facts for programs'
complete -c timelapsectl -n '__timelapsectl_at start' -a '(__fish_complete_suffix .toml)' -d 'its definition'
complete -c timelapsectl -n '__timelapsectl_at status' -l json -d 'the same facts for programs'
complete -c timelapsectl -n '__timelapsectl_at status' -l follow -d 'go on showing, until Ctrl-C'
complete -c timelapsectl -n '__timelapsectl_at status' -s n -l records -x -d 'how many of the last slots (default 10)'
complete -c timelapsectl -n '__timelapsectl_at timeline' -a '(__timelapsectl_names archives)' -d 'a timelapse that has ended; default: the last one'
complete -c timelapsectl -n '__timelapsectl_at timeline' -l svg -r --force-files -d 'as a picture into this file; - is standard output'
