# What bash offers after `balancer`; installed as bash-completion/completions/balancer.
# shellcheck shell=bash

_balancer() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local own="-h -v -V -t -T -q -s -p -e -c -g --admin --admin-token-file --strict" words
    COMPREPLY=()
    case $before in
    -s) words="stop quit reopen reload" ;;
    --format)
        words="text json sarif github"
        [ "${COMP_WORDS[1]}" = directives ] && words="text markdown"
        ;;
    -g | --admin | --interval) return ;;
    -c | -e | --admin-token-file)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        compopt -o filenames 2>/dev/null
        return
        ;;
    -p)
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        compopt -o filenames 2>/dev/null
        return
        ;;
    *)
        case ${COMP_WORDS[1]} in
        test) words="-h -q -c -p -g --strict --explain --format --color" ;;
        directives) words="--format" ;;
        top) words="--once --interval" ;;
        healthcheck) return ;;
        *)
            words=$own
            [ "$COMP_CWORD" -eq 1 ] && words+=" test directives top healthcheck"
            ;;
        esac
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _balancer balancer
