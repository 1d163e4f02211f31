# What install.sh, validate.sh and test.sh share: how a step is told, and how a Service is reached. Sourced by them.
#
# KUBECTL names another kubectl, NAMESPACE another namespace than the overlays'.
# shellcheck shell=bash

kubectl=${KUBECTL:-kubectl}
namespace=${NAMESPACE:-tracing}
scratch=$(mktemp -d)
forwards=()

leave() {
    local pid
    for pid in ${forwards[@]+"${forwards[@]}"}; do
        kill "$pid" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap leave EXIT

# choose NAME: leaves the folder of that overlay in $overlay; another name is a folder by itself.
choose() {
    # shellcheck disable=SC2154 # `here` is of the script that sources this
    case $1 in
        single | s3 | cluster) overlay=$here/overlays/$1 ;;
        *) overlay=$1 ;;
    esac
}

# workloads: what runs mosso, of the overlay that was rendered into $scratch/rendered: kind/name, a line each.
workloads() {
    awk '/^---/ { kind = "" }
        /^kind: (Deployment|StatefulSet)$/ { kind = tolower($2) }
        kind != "" && /^  name: mosso/ { print kind "/" $2; kind = "" }' "$scratch/rendered"
}

# render: the overlay's objects, into $scratch/rendered.
render() {
    "$kubectl" kustomize "$overlay" >"$scratch/rendered"
}

# kube ARGUMENTS...: kubectl in the namespace.
kube() {
    "$kubectl" --namespace "$namespace" "$@"
}

# check WHAT MEND COMMAND...: runs the command and says how it went; at a failure says what to do, and ends.
check() {
    local what=$1 mend=$2
    shift 2
    if "$@" >"$scratch/output" 2>&1; then
        printf 'ok    %s\n' "$what"
    else
        printf 'FAIL  %s\n' "$what"
        sed 's/^/      /' "$scratch/output"
        printf '      %s\n' "$mend"
        exit 1
    fi
}

# eventually SECONDS COMMAND...: the command, again and again until it succeeds or the time is over.
eventually() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if ((SECONDS >= deadline)); then
            return 1
        fi
        sleep 0.5
    done
}

# forward SERVICE PORT: opens a tunnel to a Service and leaves its local address in $forwarded.
forward() {
    local log="$scratch/forward-$1-$2-${#forwards[@]}"
    "$kubectl" --namespace "$namespace" port-forward --address 127.0.0.1 "service/$1" ":$2" >"$log" 2>&1 &
    forwards+=("$!")
    if ! eventually 30 grep -q '^Forwarding from 127' "$log"; then
        cat "$log"
        return 1
    fi
    # shellcheck disable=SC2034 # what the caller takes
    forwarded=$(sed -n 's/^Forwarding from \(127[^ ]*\) .*/\1/p' "$log" | head -n 1)
}

# answers URL TEXT [CURL ARGUMENTS...]: true when a GET answers 200 with the text in it.
answers() {
    local url=$1 text=$2
    shift 2
    curl --silent --show-error --max-time 20 --write-out '\n%{http_code}' --get "$@" "$url" >"$scratch/answer" || return
    if [[ $(tail -n 1 "$scratch/answer") == 200 ]] && grep --quiet --fixed-strings -- "$text" "$scratch/answer"; then
        return
    fi
    printf '%s answered without "%s":\n' "$url" "$text"
    head -c 2000 "$scratch/answer"
    return 1
}
