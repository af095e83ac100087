# What fish offers after `balancer`.

set -l commands test directives top healthcheck
set -l alone "not __fish_seen_subcommand_from $commands"
set -l test "__fish_seen_subcommand_from test"
set -l shared "not __fish_seen_subcommand_from directives top healthcheck"

complete -c balancer -f
complete -c balancer -n __fish_is_first_token -a test -d 'Test a configuration, in more forms than -t'
complete -c balancer -n __fish_is_first_token -a directives -d 'List every directive that is known'
complete -c balancer -n __fish_is_first_token -a top -d 'Show on a terminal what a balancer does'
complete -c balancer -n __fish_is_first_token -a healthcheck -d 'Ask a balancer whether it accepts requests'

complete -c balancer -n "$shared" -s h -d 'Show a help'
complete -c balancer -n "$shared" -s q -d 'Say nothing but mistakes in a test'
complete -c balancer -n "$shared" -s c -rF -d 'Set configuration file'
complete -c balancer -n "$shared" -s p -xa '(__fish_complete_directories)' -d 'Set prefix path'
complete -c balancer -n "$shared" -s g -x -d 'Set global directives'
complete -c balancer -n "$shared" -l strict -d "Accept nginx's own words only"

complete -c balancer -n "$alone" -s v -d 'Show version and exit'
complete -c balancer -n "$alone" -s V -d 'Show version and how it was built, and exit'
complete -c balancer -n "$alone" -s t -d 'Test configuration and exit'
complete -c balancer -n "$alone" -s T -d 'Test configuration, dump it and exit'
complete -c balancer -n "$alone" -s s -xa 'stop quit reopen reload' -d 'Send a signal'
complete -c balancer -n "$alone" -s e -rF -d 'Set error log file'
complete -c balancer -n "$alone" -l admin -x -d 'Serve metrics and status on this address'
complete -c balancer -n "$alone" -l admin-token-file -rF -d 'Let whoever tells its token change servers'

complete -c balancer -n "$test" -l explain -d 'Show what becomes of each directive'
complete -c balancer -n "$test" -l format -xa 'text json sarif github' -d 'How it is written'
complete -c balancer -n "$test" -l color -d 'Mark problems in their lines'
complete -c balancer -n "__fish_seen_subcommand_from directives" -l format -xa 'text markdown' -d 'How it is written'
complete -c balancer -n "__fish_seen_subcommand_from top" -l once -d 'Show it once and end'
complete -c balancer -n "__fish_seen_subcommand_from top" -l interval -x -d 'Seconds between two looks'
