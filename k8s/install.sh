#!/usr/bin/env bash
# Installs mosso and its collectors in the cluster that kubectl points at, and waits until they are ready.
#
#   k8s/install.sh [single | s3 | FOLDER] [--monitoring]
#
# `single` (the default) keeps blocks on a volume, `s3` in a bucket; FOLDER is an overlay of your own. --monitoring adds what
# the Prometheus operator and Grafana's sidecar pick up. May be run again: it changes what has changed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/steps.sh"

overlay=$here/overlays/single
monitoring=
for argument in "$@"; do
    case $argument in
        single | s3) overlay=$here/overlays/$argument ;;
        --monitoring) monitoring=yes ;;
        -*)
            sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
            exit 2
            ;;
        *) overlay=$argument ;;
    esac
done

printf 'Installing %s into the namespace %s\n' "$overlay" "$namespace"
check 'the cluster answers' 'Set KUBECONFIG, or choose a context: kubectl config get-contexts' "$kubectl" version
check 'you may create StatefulSets there' "Ask for the role admin in the namespace." kube auth can-i create statefulsets.apps
check 'the overlay can be rendered' 'Mend the file that is named.' "$kubectl" kustomize "$overlay"
cp "$scratch/output" "$scratch/rendered"

storage_class=$(sed -n 's/^ *storageClassName: //p' "$scratch/rendered")
if [[ -n $storage_class ]]; then
    check "the storage class $storage_class exists" \
        "Name one of \`kubectl get storageclass\` in $overlay/volume.yaml." "$kubectl" get storageclass "$storage_class"
fi
secret=$(sed -n '/secretRef:/{n;s/^ *name: //p}' "$scratch/rendered")
if [[ -n $secret ]]; then
    check "the Secret $secret exists" \
        "Make it first: the command stands in $overlay/credentials.yaml." kube get secret "$secret"
fi

check 'everything is applied' 'Mend what the API server names, and run this again.' \
    "$kubectl" apply --server-side --field-manager=mosso-install -k "$overlay"
check 'mosso is ready' "Look at: kubectl -n $namespace describe pod mosso-0, and its logs." \
    kube rollout status statefulset/mosso "--timeout=${TIMEOUT:-10m}"
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
Check it with          k8s/validate.sh, then k8s/test.sh
END
