#compdef taos-setup

autoload -U is-at-least

_taos-setup() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'--pin=[Let these instances get their root disk written down as their own\: mary,naira or project/mary or all]:NAMES:_default' \
'*--accept=[Let this be lost when containers are moved or originals deleted\: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster]:WHAT:_default' \
'--timeout=[How long the Incus daemon may take to answer a question]:SECONDS:_default' \
'--pool=[Its name \[default\: the one launches use, else default\]]:NAME:_default' \
'--driver=[Its storage driver]:DRIVER:(auto btrfs zfs dir)' \
'--size=[Size of the file it lies in, such as 50GiB \[default\: 50GiB, or what fits\]]:SIZE:_default' \
'*--member-size=[Its size on a member of a cluster, such as two=20GiB]:NAME=SIZE:_default' \
'*--member-source=[Where it lies on another member of a cluster, such as two=/dev/sdb]:NAME=PLACE:_default' \
'--source=[Where it lies\: a path on btrfs, an empty device, a ZFS dataset, or loop]:PLACE:_default' \
'--migrate=[Then move these containers to it, each down for seconds\: mary,naira or project/mary or all]:NAMES:_default' \
'--image=[When to fetch it\: with the first deploy, now, in the background, or only when asked \[default\: lazy\]]:WHEN:(lazy now background off)' \
'--image-url=[Where from\: https\:// \[default\: as published\]]:URL:_default' \
'(--image-url)--image-file=[A file that is here already]:FILE:_files' \
'--image-sha256=[The digest that it must have]:DIGEST:_default' \
'--image-key=[The minisign key that its list of digests must be signed with]:KEY:_default' \
'-y[Do what touches no instance without asking]' \
'--yes[Do what touches no instance without asking]' \
'-n[Show the plan with every command, and change nothing]' \
'--dry-run[Show the plan with every command, and change nothing]' \
'--json[Print one JSON document on stdout; words go to stderr]' \
'-q[Say nothing but errors and questions]' \
'--quiet[Say nothing but errors and questions]' \
'-v[Show commands, in the plan and as they are run]' \
'--verbose[Show commands, in the plan and as they are run]' \
'--overcommit[Allow a size that the host cannot keep]' \
'--preallocate[Allocate the whole file now, so that the space is held]' \
'--beside[Make it beside a pool that copies and is in use, for new instances]' \
'--no-network[Leave networks and network cards alone]' \
'--insecure-no-digest[Take it with no digest at all to check it against]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_taos-setup_commands" \
"*::: :->taos-setup" \
&& ret=0
    case $state in
    (taos-setup)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:taos-setup-command-$line[1]:"
        case $line[1] in
            (status)
_arguments "${_arguments_options[@]}" : \
'--pin=[Let these instances get their root disk written down as their own\: mary,naira or project/mary or all]:NAMES:_default' \
'*--accept=[Let this be lost when containers are moved or originals deleted\: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster]:WHAT:_default' \
'--timeout=[How long the Incus daemon may take to answer a question]:SECONDS:_default' \
'--image-url=[Where from\: https\:// \[default\: as published\]]:URL:_default' \
'(--image-url)--image-file=[A file that is here already]:FILE:_files' \
'--image-sha256=[The digest that it must have]:DIGEST:_default' \
'--image-key=[The minisign key that its list of digests must be signed with]:KEY:_default' \
'--probe[Also launch and remove a scratch instance on each pool, and show the times]' \
'-y[Do what touches no instance without asking]' \
'--yes[Do what touches no instance without asking]' \
'-n[Show the plan with every command, and change nothing]' \
'--dry-run[Show the plan with every command, and change nothing]' \
'--json[Print one JSON document on stdout; words go to stderr]' \
'-q[Say nothing but errors and questions]' \
'--quiet[Say nothing but errors and questions]' \
'-v[Show commands, in the plan and as they are run]' \
'--verbose[Show commands, in the plan and as they are run]' \
'--insecure-no-digest[Take it with no digest at all to check it against]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(undo)
_arguments "${_arguments_options[@]}" : \
'--pin=[Let these instances get their root disk written down as their own\: mary,naira or project/mary or all]:NAMES:_default' \
'*--accept=[Let this be lost when containers are moved or originals deleted\: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster]:WHAT:_default' \
'--timeout=[How long the Incus daemon may take to answer a question]:SECONDS:_default' \
'--image-url=[Where from\: https\:// \[default\: as published\]]:URL:_default' \
'(--image-url)--image-file=[A file that is here already]:FILE:_files' \
'--image-sha256=[The digest that it must have]:DIGEST:_default' \
'--image-key=[The minisign key that its list of digests must be signed with]:KEY:_default' \
'-y[Do what touches no instance without asking]' \
'--yes[Do what touches no instance without asking]' \
'-n[Show the plan with every command, and change nothing]' \
'--dry-run[Show the plan with every command, and change nothing]' \
'--json[Print one JSON document on stdout; words go to stderr]' \
'-q[Say nothing but errors and questions]' \
'--quiet[Say nothing but errors and questions]' \
'-v[Show commands, in the plan and as they are run]' \
'--verbose[Show commands, in the plan and as they are run]' \
'--insecure-no-digest[Take it with no digest at all to check it against]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(migrate)
_arguments "${_arguments_options[@]}" : \
'(--all --status --rollback --finish --rescue)--member=[All such containers on this member of a cluster, which has to be the one that this runs on]:MEMBER:_default' \
'--from=[Only from this pool]:POOL:_default' \
'--to=[To this pool; it is made where it is not there \[default\: the one launches use, or taos\]]:POOL:_default' \
'--verify=[Read every byte again while it is stopped, not only of files that changed]:HOW:(changed full)' \
'--strategy=[How\: copied while they run, each original kept; or by Incus'\''s own move, down all the while, with no way back]:HOW:(staged move)' \
'--after=[For how long it has to run before that]:SECONDS:_default' \
'(--status --rollback)--delete-old-pool=[Then delete this dir pool, if nothing at all uses it]:POOL:_default' \
'--pin=[Let these instances get their root disk written down as their own\: mary,naira or project/mary or all]:NAMES:_default' \
'*--accept=[Let this be lost when containers are moved or originals deleted\: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster]:WHAT:_default' \
'--timeout=[How long the Incus daemon may take to answer a question]:SECONDS:_default' \
'--image-url=[Where from\: https\:// \[default\: as published\]]:URL:_default' \
'(--image-url)--image-file=[A file that is here already]:FILE:_files' \
'--image-sha256=[The digest that it must have]:DIGEST:_default' \
'--image-key=[The minisign key that its list of digests must be signed with]:KEY:_default' \
'--all[All containers on pools that copy at each launch, or on --from]' \
'(--status --rollback --finish)--delete-originals[Delete each original as soon as its copy has run for a while, where there is no room to keep them all]' \
'(--all --rollback --finish)--status[Show which originals are kept, and what moves left that were cut short]' \
'(--to --from --all --finish)--rollback[Move them back, with all that they wrote since]' \
'--as-it-was[Without that\: to what was kept, as it was then; what is there now is kept in turn]' \
'(--to --from)--finish[Delete the kept originals, for good]' \
'(--to --from --all --status --rollback --finish --delete-originals)--rescue[Deal with a move-of-… that a plain move left which was cut short; move-of-1=mary if nothing tells its name]' \
'-y[Do what touches no instance without asking]' \
'--yes[Do what touches no instance without asking]' \
'-n[Show the plan with every command, and change nothing]' \
'--dry-run[Show the plan with every command, and change nothing]' \
'--json[Print one JSON document on stdout; words go to stderr]' \
'-q[Say nothing but errors and questions]' \
'--quiet[Say nothing but errors and questions]' \
'-v[Show commands, in the plan and as they are run]' \
'--verbose[Show commands, in the plan and as they are run]' \
'--insecure-no-digest[Take it with no digest at all to check it against]' \
'-h[Print help]' \
'--help[Print help]' \
'*::names -- mary, or project/mary:_default' \
&& ret=0
;;
(image)
_arguments "${_arguments_options[@]}" : \
'--pin=[Let these instances get their root disk written down as their own\: mary,naira or project/mary or all]:NAMES:_default' \
'*--accept=[Let this be lost when containers are moved or originals deleted\: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster]:WHAT:_default' \
'--timeout=[How long the Incus daemon may take to answer a question]:SECONDS:_default' \
'--image-url=[Where from\: https\:// \[default\: as published\]]:URL:_default' \
'(--image-url)--image-file=[A file that is here already]:FILE:_files' \
'--image-sha256=[The digest that it must have]:DIGEST:_default' \
'--image-key=[The minisign key that its list of digests must be signed with]:KEY:_default' \
'-y[Do what touches no instance without asking]' \
'--yes[Do what touches no instance without asking]' \
'-n[Show the plan with every command, and change nothing]' \
'--dry-run[Show the plan with every command, and change nothing]' \
'--json[Print one JSON document on stdout; words go to stderr]' \
'-q[Say nothing but errors and questions]' \
'--quiet[Say nothing but errors and questions]' \
'-v[Show commands, in the plan and as they are run]' \
'--verbose[Show commands, in the plan and as they are run]' \
'--insecure-no-digest[Take it with no digest at all to check it against]' \
'-h[Print help]' \
'--help[Print help]' \
":: :_taos-setup__subcmd__image_commands" \
"*::: :->image" \
&& ret=0

    case $state in
    (image)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:taos-setup-image-command-$line[1]:"
        case $line[1] in
            (fetch)
_arguments "${_arguments_options[@]}" : \
'--pin=[Let these instances get their root disk written down as their own\: mary,naira or project/mary or all]:NAMES:_default' \
'*--accept=[Let this be lost when containers are moved or originals deleted\: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster]:WHAT:_default' \
'--timeout=[How long the Incus daemon may take to answer a question]:SECONDS:_default' \
'--image-url=[Where from\: https\:// \[default\: as published\]]:URL:_default' \
'(--image-url)--image-file=[A file that is here already]:FILE:_files' \
'--image-sha256=[The digest that it must have]:DIGEST:_default' \
'--image-key=[The minisign key that its list of digests must be signed with]:KEY:_default' \
'--detach[In the background; return at once]' \
'--refresh[Also if there is one\: replace it if another is published]' \
'-y[Do what touches no instance without asking]' \
'--yes[Do what touches no instance without asking]' \
'-n[Show the plan with every command, and change nothing]' \
'--dry-run[Show the plan with every command, and change nothing]' \
'--json[Print one JSON document on stdout; words go to stderr]' \
'-q[Say nothing but errors and questions]' \
'--quiet[Say nothing but errors and questions]' \
'-v[Show commands, in the plan and as they are run]' \
'--verbose[Show commands, in the plan and as they are run]' \
'--insecure-no-digest[Take it with no digest at all to check it against]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(status)
_arguments "${_arguments_options[@]}" : \
'--pin=[Let these instances get their root disk written down as their own\: mary,naira or project/mary or all]:NAMES:_default' \
'*--accept=[Let this be lost when containers are moved or originals deleted\: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster]:WHAT:_default' \
'--timeout=[How long the Incus daemon may take to answer a question]:SECONDS:_default' \
'--image-url=[Where from\: https\:// \[default\: as published\]]:URL:_default' \
'(--image-url)--image-file=[A file that is here already]:FILE:_files' \
'--image-sha256=[The digest that it must have]:DIGEST:_default' \
'--image-key=[The minisign key that its list of digests must be signed with]:KEY:_default' \
'--watch[Until it is through]' \
'-y[Do what touches no instance without asking]' \
'--yes[Do what touches no instance without asking]' \
'-n[Show the plan with every command, and change nothing]' \
'--dry-run[Show the plan with every command, and change nothing]' \
'--json[Print one JSON document on stdout; words go to stderr]' \
'-q[Say nothing but errors and questions]' \
'--quiet[Say nothing but errors and questions]' \
'-v[Show commands, in the plan and as they are run]' \
'--verbose[Show commands, in the plan and as they are run]' \
'--insecure-no-digest[Take it with no digest at all to check it against]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
'--pin=[Let these instances get their root disk written down as their own\: mary,naira or project/mary or all]:NAMES:_default' \
'*--accept=[Let this be lost when containers are moved or originals deleted\: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster]:WHAT:_default' \
'--timeout=[How long the Incus daemon may take to answer a question]:SECONDS:_default' \
'--image-url=[Where from\: https\:// \[default\: as published\]]:URL:_default' \
'(--image-url)--image-file=[A file that is here already]:FILE:_files' \
'--image-sha256=[The digest that it must have]:DIGEST:_default' \
'--image-key=[The minisign key that its list of digests must be signed with]:KEY:_default' \
'-y[Do what touches no instance without asking]' \
'--yes[Do what touches no instance without asking]' \
'-n[Show the plan with every command, and change nothing]' \
'--dry-run[Show the plan with every command, and change nothing]' \
'--json[Print one JSON document on stdout; words go to stderr]' \
'-q[Say nothing but errors and questions]' \
'--quiet[Say nothing but errors and questions]' \
'-v[Show commands, in the plan and as they are run]' \
'--verbose[Show commands, in the plan and as they are run]' \
'--insecure-no-digest[Take it with no digest at all to check it against]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(remove)
_arguments "${_arguments_options[@]}" : \
'--pin=[Let these instances get their root disk written down as their own\: mary,naira or project/mary or all]:NAMES:_default' \
'*--accept=[Let this be lost when containers are moved or originals deleted\: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster]:WHAT:_default' \
'--timeout=[How long the Incus daemon may take to answer a question]:SECONDS:_default' \
'--image-url=[Where from\: https\:// \[default\: as published\]]:URL:_default' \
'(--image-url)--image-file=[A file that is here already]:FILE:_files' \
'--image-sha256=[The digest that it must have]:DIGEST:_default' \
'--image-key=[The minisign key that its list of digests must be signed with]:KEY:_default' \
'-y[Do what touches no instance without asking]' \
'--yes[Do what touches no instance without asking]' \
'-n[Show the plan with every command, and change nothing]' \
'--dry-run[Show the plan with every command, and change nothing]' \
'--json[Print one JSON document on stdout; words go to stderr]' \
'-q[Say nothing but errors and questions]' \
'--quiet[Say nothing but errors and questions]' \
'-v[Show commands, in the plan and as they are run]' \
'--verbose[Show commands, in the plan and as they are run]' \
'--insecure-no-digest[Take it with no digest at all to check it against]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(ensure)
_arguments "${_arguments_options[@]}" : \
'--pin=[Let these instances get their root disk written down as their own\: mary,naira or project/mary or all]:NAMES:_default' \
'*--accept=[Let this be lost when containers are moved or originals deleted\: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster]:WHAT:_default' \
'--timeout=[How long the Incus daemon may take to answer a question]:SECONDS:_default' \
'--image-url=[Where from\: https\:// \[default\: as published\]]:URL:_default' \
'(--image-url)--image-file=[A file that is here already]:FILE:_files' \
'--image-sha256=[The digest that it must have]:DIGEST:_default' \
'--image-key=[The minisign key that its list of digests must be signed with]:KEY:_default' \
'--detach[Have it fetched in the background if it is not here]' \
'-y[Do what touches no instance without asking]' \
'--yes[Do what touches no instance without asking]' \
'-n[Show the plan with every command, and change nothing]' \
'--dry-run[Show the plan with every command, and change nothing]' \
'--json[Print one JSON document on stdout; words go to stderr]' \
'-q[Say nothing but errors and questions]' \
'--quiet[Say nothing but errors and questions]' \
'-v[Show commands, in the plan and as they are run]' \
'--verbose[Show commands, in the plan and as they are run]' \
'--insecure-no-digest[Take it with no digest at all to check it against]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(due)
_arguments "${_arguments_options[@]}" : \
'--pin=[Let these instances get their root disk written down as their own\: mary,naira or project/mary or all]:NAMES:_default' \
'*--accept=[Let this be lost when containers are moved or originals deleted\: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster]:WHAT:_default' \
'--timeout=[How long the Incus daemon may take to answer a question]:SECONDS:_default' \
'--image-url=[Where from\: https\:// \[default\: as published\]]:URL:_default' \
'(--image-url)--image-file=[A file that is here already]:FILE:_files' \
'--image-sha256=[The digest that it must have]:DIGEST:_default' \
'--image-key=[The minisign key that its list of digests must be signed with]:KEY:_default' \
'-y[Do what touches no instance without asking]' \
'--yes[Do what touches no instance without asking]' \
'-n[Show the plan with every command, and change nothing]' \
'--dry-run[Show the plan with every command, and change nothing]' \
'--json[Print one JSON document on stdout; words go to stderr]' \
'-q[Say nothing but errors and questions]' \
'--quiet[Say nothing but errors and questions]' \
'-v[Show commands, in the plan and as they are run]' \
'--verbose[Show commands, in the plan and as they are run]' \
'--insecure-no-digest[Take it with no digest at all to check it against]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_taos-setup__subcmd__image__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:taos-setup-image-help-command-$line[1]:"
        case $line[1] in
            (fetch)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(status)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(remove)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(ensure)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(due)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_taos-setup__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:taos-setup-help-command-$line[1]:"
        case $line[1] in
            (status)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(undo)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(migrate)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(image)
_arguments "${_arguments_options[@]}" : \
":: :_taos-setup__subcmd__help__subcmd__image_commands" \
"*::: :->image" \
&& ret=0

    case $state in
    (image)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:taos-setup-help-image-command-$line[1]:"
        case $line[1] in
            (fetch)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(status)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(remove)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(ensure)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(due)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
}

(( $+functions[_taos-setup_commands] )) ||
_taos-setup_commands() {
    local commands; commands=(
'status:Show how it stands\: pools, launches, instances, and a verdict' \
'undo:Take back what the last run made, if nobody uses it yet' \
'migrate:Move containers to another pool, each down for seconds only' \
'image:The image that agents are made from' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'taos-setup commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help_commands] )) ||
_taos-setup__subcmd__help_commands() {
    local commands; commands=(
'status:Show how it stands\: pools, launches, instances, and a verdict' \
'undo:Take back what the last run made, if nobody uses it yet' \
'migrate:Move containers to another pool, each down for seconds only' \
'image:The image that agents are made from' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'taos-setup help commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help__subcmd__help_commands] )) ||
_taos-setup__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup help help commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help__subcmd__image_commands] )) ||
_taos-setup__subcmd__help__subcmd__image_commands() {
    local commands; commands=(
'fetch:Fetch it, check it, import it, unpack it, name it' \
'status:Show how far it is (for any user)' \
'verify:Look whether the one that is here is whole' \
'remove:Remove it, and what there is of a fetch' \
'ensure:For deployers\: return at once with 0 if it is ready, 10 if it is on its way, 11 absent, 12 failed, 13 no Incus' \
'due:For the service\: 0 if it has something to do' \
    )
    _describe -t commands 'taos-setup help image commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help__subcmd__image__subcmd__due_commands] )) ||
_taos-setup__subcmd__help__subcmd__image__subcmd__due_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup help image due commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help__subcmd__image__subcmd__ensure_commands] )) ||
_taos-setup__subcmd__help__subcmd__image__subcmd__ensure_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup help image ensure commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help__subcmd__image__subcmd__fetch_commands] )) ||
_taos-setup__subcmd__help__subcmd__image__subcmd__fetch_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup help image fetch commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help__subcmd__image__subcmd__remove_commands] )) ||
_taos-setup__subcmd__help__subcmd__image__subcmd__remove_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup help image remove commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help__subcmd__image__subcmd__status_commands] )) ||
_taos-setup__subcmd__help__subcmd__image__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup help image status commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help__subcmd__image__subcmd__verify_commands] )) ||
_taos-setup__subcmd__help__subcmd__image__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup help image verify commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help__subcmd__migrate_commands] )) ||
_taos-setup__subcmd__help__subcmd__migrate_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup help migrate commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help__subcmd__status_commands] )) ||
_taos-setup__subcmd__help__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup help status commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__help__subcmd__undo_commands] )) ||
_taos-setup__subcmd__help__subcmd__undo_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup help undo commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image_commands] )) ||
_taos-setup__subcmd__image_commands() {
    local commands; commands=(
'fetch:Fetch it, check it, import it, unpack it, name it' \
'status:Show how far it is (for any user)' \
'verify:Look whether the one that is here is whole' \
'remove:Remove it, and what there is of a fetch' \
'ensure:For deployers\: return at once with 0 if it is ready, 10 if it is on its way, 11 absent, 12 failed, 13 no Incus' \
'due:For the service\: 0 if it has something to do' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'taos-setup image commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__due_commands] )) ||
_taos-setup__subcmd__image__subcmd__due_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image due commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__ensure_commands] )) ||
_taos-setup__subcmd__image__subcmd__ensure_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image ensure commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__fetch_commands] )) ||
_taos-setup__subcmd__image__subcmd__fetch_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image fetch commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__help_commands] )) ||
_taos-setup__subcmd__image__subcmd__help_commands() {
    local commands; commands=(
'fetch:Fetch it, check it, import it, unpack it, name it' \
'status:Show how far it is (for any user)' \
'verify:Look whether the one that is here is whole' \
'remove:Remove it, and what there is of a fetch' \
'ensure:For deployers\: return at once with 0 if it is ready, 10 if it is on its way, 11 absent, 12 failed, 13 no Incus' \
'due:For the service\: 0 if it has something to do' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'taos-setup image help commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__help__subcmd__due_commands] )) ||
_taos-setup__subcmd__image__subcmd__help__subcmd__due_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image help due commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__help__subcmd__ensure_commands] )) ||
_taos-setup__subcmd__image__subcmd__help__subcmd__ensure_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image help ensure commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__help__subcmd__fetch_commands] )) ||
_taos-setup__subcmd__image__subcmd__help__subcmd__fetch_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image help fetch commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__help__subcmd__help_commands] )) ||
_taos-setup__subcmd__image__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image help help commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__help__subcmd__remove_commands] )) ||
_taos-setup__subcmd__image__subcmd__help__subcmd__remove_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image help remove commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__help__subcmd__status_commands] )) ||
_taos-setup__subcmd__image__subcmd__help__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image help status commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__help__subcmd__verify_commands] )) ||
_taos-setup__subcmd__image__subcmd__help__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image help verify commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__remove_commands] )) ||
_taos-setup__subcmd__image__subcmd__remove_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image remove commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__status_commands] )) ||
_taos-setup__subcmd__image__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image status commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__image__subcmd__verify_commands] )) ||
_taos-setup__subcmd__image__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup image verify commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__migrate_commands] )) ||
_taos-setup__subcmd__migrate_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup migrate commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__status_commands] )) ||
_taos-setup__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup status commands' commands "$@"
}
(( $+functions[_taos-setup__subcmd__undo_commands] )) ||
_taos-setup__subcmd__undo_commands() {
    local commands; commands=()
    _describe -t commands 'taos-setup undo commands' commands "$@"
}

if [ "$funcstack[1]" = "_taos-setup" ]; then
    _taos-setup "$@"
else
    compdef _taos-setup taos-setup
fi
