# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_taos_setup_global_optspecs
    string join \n y/yes n/dry-run json q/quiet v/verbose pin= accept= timeout= pool= driver= size= member-size= member-source= overcommit source= preallocate beside migrate= no-network image= image-url= image-file= image-sha256= image-key= insecure-no-digest h/help V/version
end

function __fish_taos_setup_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_taos_setup_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_taos_setup_using_subcommand
    set -l cmd (__fish_taos_setup_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c taos-setup -n "__fish_taos_setup_needs_command" -l pin -d 'Let these instances get their root disk written down as their own: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l accept -d 'Let this be lost when containers are moved or originals deleted: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l timeout -d 'How long the Incus daemon may take to answer a question' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l pool -d 'Its name [default: the one launches use, else default]' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l driver -d 'Its storage driver' -r -f -a "auto\t''
btrfs\t''
zfs\t''
dir\t''"
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l size -d 'Size of the file it lies in, such as 50GiB [default: 50GiB, or what fits]' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l member-size -d 'Its size on a member of a cluster, such as two=20GiB' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l member-source -d 'Where it lies on another member of a cluster, such as two=/dev/sdb' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l source -d 'Where it lies: a path on btrfs, an empty device, a ZFS dataset, or loop' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l migrate -d 'Then move these containers to it, each down for seconds: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l image -d 'When to fetch it: with the first deploy, now, in the background, or only when asked [default: lazy]' -r -f -a "lazy\t''
now\t''
background\t''
off\t''"
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l image-url -d 'Where from: https:// [default: as published]' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l image-file -d 'A file that is here already' -r -F
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l image-sha256 -d 'The digest that it must have' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l image-key -d 'The minisign key that its list of digests must be signed with' -r
complete -c taos-setup -n "__fish_taos_setup_needs_command" -s y -l yes -d 'Do what touches no instance without asking'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -s n -l dry-run -d 'Show the plan with every command, and change nothing'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l json -d 'Print one JSON document on stdout; words go to stderr'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -s q -l quiet -d 'Say nothing but errors and questions'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -s v -l verbose -d 'Show commands, in the plan and as they are run'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l overcommit -d 'Allow a size that the host cannot keep'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l preallocate -d 'Allocate the whole file now, so that the space is held'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l beside -d 'Make it beside a pool that copies and is in use, for new instances'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l no-network -d 'Leave networks and network cards alone'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -l insecure-no-digest -d 'Take it with no digest at all to check it against'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -s V -l version -d 'Print version'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -f -a "status" -d 'Show how it stands: pools, launches, instances, and a verdict'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -f -a "undo" -d 'Take back what the last run made, if nobody uses it yet'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -f -a "migrate" -d 'Move containers to another pool, each down for seconds only'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -f -a "image" -d 'The image that agents are made from'
complete -c taos-setup -n "__fish_taos_setup_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -l pin -d 'Let these instances get their root disk written down as their own: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -l accept -d 'Let this be lost when containers are moved or originals deleted: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -l timeout -d 'How long the Incus daemon may take to answer a question' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -l image-url -d 'Where from: https:// [default: as published]' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -l image-file -d 'A file that is here already' -r -F
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -l image-sha256 -d 'The digest that it must have' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -l image-key -d 'The minisign key that its list of digests must be signed with' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -l probe -d 'Also launch and remove a scratch instance on each pool, and show the times'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -s y -l yes -d 'Do what touches no instance without asking'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -s n -l dry-run -d 'Show the plan with every command, and change nothing'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -l json -d 'Print one JSON document on stdout; words go to stderr'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -s q -l quiet -d 'Say nothing but errors and questions'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -s v -l verbose -d 'Show commands, in the plan and as they are run'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -l insecure-no-digest -d 'Take it with no digest at all to check it against'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand status" -s h -l help -d 'Print help'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -l pin -d 'Let these instances get their root disk written down as their own: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -l accept -d 'Let this be lost when containers are moved or originals deleted: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -l timeout -d 'How long the Incus daemon may take to answer a question' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -l image-url -d 'Where from: https:// [default: as published]' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -l image-file -d 'A file that is here already' -r -F
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -l image-sha256 -d 'The digest that it must have' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -l image-key -d 'The minisign key that its list of digests must be signed with' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -s y -l yes -d 'Do what touches no instance without asking'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -s n -l dry-run -d 'Show the plan with every command, and change nothing'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -l json -d 'Print one JSON document on stdout; words go to stderr'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -s q -l quiet -d 'Say nothing but errors and questions'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -s v -l verbose -d 'Show commands, in the plan and as they are run'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -l insecure-no-digest -d 'Take it with no digest at all to check it against'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand undo" -s h -l help -d 'Print help'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l member -d 'All such containers on this member of a cluster, which has to be the one that this runs on' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l from -d 'Only from this pool' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l to -d 'To this pool; it is made where it is not there [default: the one launches use, or taos]' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l verify -d 'Read every byte again while it is stopped, not only of files that changed' -r -f -a "changed\t''
full\t''"
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l strategy -d 'How: copied while they run, each original kept; or by Incus\'s own move, down all the while, with no way back' -r -f -a "staged\t''
move\t''"
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l after -d 'For how long it has to run before that' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l delete-old-pool -d 'Then delete this dir pool, if nothing at all uses it' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l pin -d 'Let these instances get their root disk written down as their own: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l accept -d 'Let this be lost when containers are moved or originals deleted: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l timeout -d 'How long the Incus daemon may take to answer a question' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l image-url -d 'Where from: https:// [default: as published]' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l image-file -d 'A file that is here already' -r -F
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l image-sha256 -d 'The digest that it must have' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l image-key -d 'The minisign key that its list of digests must be signed with' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l all -d 'All containers on pools that copy at each launch, or on --from'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l delete-originals -d 'Delete each original as soon as its copy has run for a while, where there is no room to keep them all'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l status -d 'Show which originals are kept, and what moves left that were cut short'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l rollback -d 'Move them back, with all that they wrote since'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l as-it-was -d 'Without that: to what was kept, as it was then; what is there now is kept in turn'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l finish -d 'Delete the kept originals, for good'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l rescue -d 'Deal with a move-of-… that a plain move left which was cut short; move-of-1=mary if nothing tells its name'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -s y -l yes -d 'Do what touches no instance without asking'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -s n -l dry-run -d 'Show the plan with every command, and change nothing'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l json -d 'Print one JSON document on stdout; words go to stderr'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -s q -l quiet -d 'Say nothing but errors and questions'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -s v -l verbose -d 'Show commands, in the plan and as they are run'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -l insecure-no-digest -d 'Take it with no digest at all to check it against'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand migrate" -s h -l help -d 'Print help'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -l pin -d 'Let these instances get their root disk written down as their own: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -l accept -d 'Let this be lost when containers are moved or originals deleted: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -l timeout -d 'How long the Incus daemon may take to answer a question' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -l image-url -d 'Where from: https:// [default: as published]' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -l image-file -d 'A file that is here already' -r -F
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -l image-sha256 -d 'The digest that it must have' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -l image-key -d 'The minisign key that its list of digests must be signed with' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -s y -l yes -d 'Do what touches no instance without asking'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -s n -l dry-run -d 'Show the plan with every command, and change nothing'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -l json -d 'Print one JSON document on stdout; words go to stderr'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -s q -l quiet -d 'Say nothing but errors and questions'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -s v -l verbose -d 'Show commands, in the plan and as they are run'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -l insecure-no-digest -d 'Take it with no digest at all to check it against'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -s h -l help -d 'Print help'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -f -a "fetch" -d 'Fetch it, check it, import it, unpack it, name it'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -f -a "status" -d 'Show how far it is (for any user)'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -f -a "verify" -d 'Look whether the one that is here is whole'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -f -a "remove" -d 'Remove it, and what there is of a fetch'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -f -a "ensure" -d 'For deployers: return at once with 0 if it is ready, 10 if it is on its way, 11 absent, 12 failed, 13 no Incus'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -f -a "due" -d 'For the service: 0 if it has something to do'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and not __fish_seen_subcommand_from fetch status verify remove ensure due help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -l pin -d 'Let these instances get their root disk written down as their own: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -l accept -d 'Let this be lost when containers are moved or originals deleted: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -l timeout -d 'How long the Incus daemon may take to answer a question' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -l image-url -d 'Where from: https:// [default: as published]' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -l image-file -d 'A file that is here already' -r -F
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -l image-sha256 -d 'The digest that it must have' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -l image-key -d 'The minisign key that its list of digests must be signed with' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -l detach -d 'In the background; return at once'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -l refresh -d 'Also if there is one: replace it if another is published'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -s y -l yes -d 'Do what touches no instance without asking'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -s n -l dry-run -d 'Show the plan with every command, and change nothing'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -l json -d 'Print one JSON document on stdout; words go to stderr'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -s q -l quiet -d 'Say nothing but errors and questions'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -s v -l verbose -d 'Show commands, in the plan and as they are run'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -l insecure-no-digest -d 'Take it with no digest at all to check it against'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from fetch" -s h -l help -d 'Print help'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -l pin -d 'Let these instances get their root disk written down as their own: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -l accept -d 'Let this be lost when containers are moved or originals deleted: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -l timeout -d 'How long the Incus daemon may take to answer a question' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -l image-url -d 'Where from: https:// [default: as published]' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -l image-file -d 'A file that is here already' -r -F
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -l image-sha256 -d 'The digest that it must have' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -l image-key -d 'The minisign key that its list of digests must be signed with' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -l watch -d 'Until it is through'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -s y -l yes -d 'Do what touches no instance without asking'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -s n -l dry-run -d 'Show the plan with every command, and change nothing'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -l json -d 'Print one JSON document on stdout; words go to stderr'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Say nothing but errors and questions'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Show commands, in the plan and as they are run'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -l insecure-no-digest -d 'Take it with no digest at all to check it against'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -l pin -d 'Let these instances get their root disk written down as their own: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -l accept -d 'Let this be lost when containers are moved or originals deleted: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -l timeout -d 'How long the Incus daemon may take to answer a question' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -l image-url -d 'Where from: https:// [default: as published]' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -l image-file -d 'A file that is here already' -r -F
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -l image-sha256 -d 'The digest that it must have' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -l image-key -d 'The minisign key that its list of digests must be signed with' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -s y -l yes -d 'Do what touches no instance without asking'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -s n -l dry-run -d 'Show the plan with every command, and change nothing'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -l json -d 'Print one JSON document on stdout; words go to stderr'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Say nothing but errors and questions'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Show commands, in the plan and as they are run'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -l insecure-no-digest -d 'Take it with no digest at all to check it against'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -l pin -d 'Let these instances get their root disk written down as their own: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -l accept -d 'Let this be lost when containers are moved or originals deleted: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -l timeout -d 'How long the Incus daemon may take to answer a question' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -l image-url -d 'Where from: https:// [default: as published]' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -l image-file -d 'A file that is here already' -r -F
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -l image-sha256 -d 'The digest that it must have' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -l image-key -d 'The minisign key that its list of digests must be signed with' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -s y -l yes -d 'Do what touches no instance without asking'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -s n -l dry-run -d 'Show the plan with every command, and change nothing'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -l json -d 'Print one JSON document on stdout; words go to stderr'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Say nothing but errors and questions'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Show commands, in the plan and as they are run'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -l insecure-no-digest -d 'Take it with no digest at all to check it against'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -l pin -d 'Let these instances get their root disk written down as their own: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -l accept -d 'Let this be lost when containers are moved or originals deleted: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -l timeout -d 'How long the Incus daemon may take to answer a question' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -l image-url -d 'Where from: https:// [default: as published]' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -l image-file -d 'A file that is here already' -r -F
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -l image-sha256 -d 'The digest that it must have' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -l image-key -d 'The minisign key that its list of digests must be signed with' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -l detach -d 'Have it fetched in the background if it is not here'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -s y -l yes -d 'Do what touches no instance without asking'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -s n -l dry-run -d 'Show the plan with every command, and change nothing'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -l json -d 'Print one JSON document on stdout; words go to stderr'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -s q -l quiet -d 'Say nothing but errors and questions'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -s v -l verbose -d 'Show commands, in the plan and as they are run'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -l insecure-no-digest -d 'Take it with no digest at all to check it against'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from ensure" -s h -l help -d 'Print help'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -l pin -d 'Let these instances get their root disk written down as their own: mary,naira or project/mary or all' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -l accept -d 'Let this be lost when containers are moved or originals deleted: backups, snapshot-size, root-size, subvolumes or protection; or unseen, on other members of a cluster' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -l timeout -d 'How long the Incus daemon may take to answer a question' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -l image-url -d 'Where from: https:// [default: as published]' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -l image-file -d 'A file that is here already' -r -F
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -l image-sha256 -d 'The digest that it must have' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -l image-key -d 'The minisign key that its list of digests must be signed with' -r
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -s y -l yes -d 'Do what touches no instance without asking'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -s n -l dry-run -d 'Show the plan with every command, and change nothing'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -l json -d 'Print one JSON document on stdout; words go to stderr'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -s q -l quiet -d 'Say nothing but errors and questions'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -s v -l verbose -d 'Show commands, in the plan and as they are run'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -l insecure-no-digest -d 'Take it with no digest at all to check it against'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from due" -s h -l help -d 'Print help'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from help" -f -a "fetch" -d 'Fetch it, check it, import it, unpack it, name it'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from help" -f -a "status" -d 'Show how far it is (for any user)'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Look whether the one that is here is whole'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove it, and what there is of a fetch'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from help" -f -a "ensure" -d 'For deployers: return at once with 0 if it is ready, 10 if it is on its way, 11 absent, 12 failed, 13 no Incus'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from help" -f -a "due" -d 'For the service: 0 if it has something to do'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand image; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand help; and not __fish_seen_subcommand_from status undo migrate image help" -f -a "status" -d 'Show how it stands: pools, launches, instances, and a verdict'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand help; and not __fish_seen_subcommand_from status undo migrate image help" -f -a "undo" -d 'Take back what the last run made, if nobody uses it yet'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand help; and not __fish_seen_subcommand_from status undo migrate image help" -f -a "migrate" -d 'Move containers to another pool, each down for seconds only'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand help; and not __fish_seen_subcommand_from status undo migrate image help" -f -a "image" -d 'The image that agents are made from'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand help; and not __fish_seen_subcommand_from status undo migrate image help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand help; and __fish_seen_subcommand_from image" -f -a "fetch" -d 'Fetch it, check it, import it, unpack it, name it'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand help; and __fish_seen_subcommand_from image" -f -a "status" -d 'Show how far it is (for any user)'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand help; and __fish_seen_subcommand_from image" -f -a "verify" -d 'Look whether the one that is here is whole'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand help; and __fish_seen_subcommand_from image" -f -a "remove" -d 'Remove it, and what there is of a fetch'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand help; and __fish_seen_subcommand_from image" -f -a "ensure" -d 'For deployers: return at once with 0 if it is ready, 10 if it is on its way, 11 absent, 12 failed, 13 no Incus'
complete -c taos-setup -n "__fish_taos_setup_using_subcommand help; and __fish_seen_subcommand_from image" -f -a "due" -d 'For the service: 0 if it has something to do'
