# Sourced by the scripts that compare methods for a page of docs/. The command line is PART [--out DIR] and options
# of `slimgrad compare`, which replace those of the part.

# Sets part, out and more. study_begin DEFAULT_OUT ARGUMENTS...
study_begin() {
    out=$1 part=${2:-} more=()
    shift
    [ $# -gt 0 ] && shift
    while [ $# -gt 0 ]; do
        case $1 in
            --out) out=$2; shift 2 ;;
            --out=*) out=${1#--out=}; shift ;;
            *) more+=("$1"); shift ;;
        esac
    done
    program=$(dirname "${BASH_SOURCE[0]}")/../build/slimgrad
    [ -x "$program" ] || { echo "first: ./run build" >&2; exit 2; }
}

joined() { local IFS=,; echo "$*"; }

# Whether the option $1 is among those that were given.
study_is_given() { case " ${more[*]-} " in *" $1"[\ =]*) ;; *) return 1 ;; esac; }

# Ends with the usage unless these options were given.
study_needs() {
    local option
    for option; do
        study_is_given "$option" || { echo "expected $option" >&2; usage >&2; exit 2; }
    done
}

# Compares, with these options where no others were given; goes on if it was stopped. Never returns.
study_compare() {
    local name value
    while [ $# -gt 0 ]; do
        name=$1 value=()
        shift
        case ${1:---} in
            --*) ;;
            *) value=("$1"); shift ;;
        esac
        study_is_given "$name" || more+=("$name" "${value[@]}")
    done
    exec "$program" compare --resume --out "$out/$part" "${more[@]}"
}
