#!/usr/bin/env bash
# Installs mosso and its collectors in the cluster that kubectl points at, and waits until they are ready.
#
#   k8s/install.sh [single | s3 | cluster | FOLDER] [--monitoring]
#
# `single` (the default) keeps blocks on a volume, `s3` in a bucket; `cluster` is several mosso over a bucket; FOLDER is an overlay
# of your own. --monitoring adds what the Prometheus operator and Grafana's sidecar pick up. May be run again: it changes what has
# changed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/steps.sh"

choose single
monitoring=
for argument in "$@"; do
    case $argument in
        --monitoring) monitoring=yes ;;
        -*)
            sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
            exit 2
            ;;
        *) choose "$argument" ;;
    esac
done

printf 'Installing %s into the namespace %s\n' "$overlay" "$namespace"
check 'the cluster answers' 'Set KUBECONFIG, or choose a context: kubectl config get-contexts' "$kubectl" version
check 'the overlay can be rendered' 'Mend the file that is named.' render
for kind in $(workloads | sed 's|/.*||' | sort --unique); do
    check "you may create ${kind}s there" "Ask for the role admin in the namespace." kube auth can-i create "${kind}s.apps"
done

storage_class=$(sed -n 's/^ *storageClassName: //p' "$scratch/rendered")
if [[ -n $storage_class ]]; then
    check "the storage class $storage_class exists" \
        "Name one of \`kubectl get storageclass\` in $overlay/volume.yaml." "$kubectl" get storageclass "$storage_class"
fi
secrets=$(sed -n '/secretRef:/{n;s/^ *name: //p}' "$scratch/rendered" | sort --unique)
for secret in $secrets; do
    check "the Secret $secret exists" \
        "Make it first: the command stands in $(grep -l 'create secret' "$overlay"/*.yaml)." kube get secret "$secret"
done

check 'everything is applied' 'Mend what the API server names, and run this again.' \
    "$kubectl" apply --server-side --field-manager=mosso-install -k "$overlay"
for workload in $(workloads); do
    check "${workload#*/} is ready" \
        "Look at: kubectl -n $namespace describe pod -l app.kubernetes.io/name=mosso, and the logs of the pods." \
        kube rollout status "$workload" "--timeout=${TIMEOUT:-10m}"
done
check 'the collectors are ready' "Look at: kubectl -n $namespace describe pod -l app.kubernetes.io/name=otel-collector" \
    kube rollout status deployment/otel-collector "--timeout=${TIMEOUT:-10m}"

if [[ -n $monitoring ]]; then
    check 'the Prometheus operator is installed' 'Install it first, or leave out --monitoring.' \
        "$kubectl" get crd servicemonitors.monitoring.coreos.com prometheusrules.monitoring.coreos.com
    check 'monitors, alerts and dashboards are applied' 'Mend what the API server names, and run this again.' \
        "$kubectl" apply --server-side --field-manager=mosso-install -k "$here/monitoring"
fi

cat <<END
Applications send to   http://otel-collector.$namespace:4317 (gRPC) or :4318 (HTTP)
Grafana asks           http://mosso.$namespace:3200, as a Tempo datasource
Check it with          k8s/validate.sh ${overlay##*/}, then k8s/test.sh ${overlay##*/}
END
