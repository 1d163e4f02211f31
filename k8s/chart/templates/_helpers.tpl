{{- define "mosso.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "mosso.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mosso.labels" -}}
{{ include "mosso.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- with merge (dict) .Values.global.commonLabels .Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mosso.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mosso.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The configuration file, with an address that Services can reach, and with the certificate of `tls` where a listener has none. */}}
{{- define "mosso.config" -}}
{{- $config := tpl .Values.config . | fromYaml -}}
{{- with $config.Error }}{{ fail (printf "config is no YAML: %s" .) }}{{ end -}}
{{- $server := merge (default dict $config.server) (dict "http_listen_address" "0.0.0.0" "http_listen_port" 3200) -}}
{{- if .Values.tls.enabled -}}
{{- $pair := dict "cert_file" "/tls/tls.crt" "key_file" "/tls/tls.key" -}}
{{- $asking := $pair -}}
{{- $http := $pair -}}
{{- with .Values.tls.clientCAKey -}}
{{- $asking = merge (dict "client_ca_file" (printf "/tls/%s" .)) $pair -}}
{{- /* probes and Grafana have no certificate */ -}}
{{- $http = merge (dict "client_auth_type" "VerifyClientCertIfGiven") $asking -}}
{{- end -}}
{{- $server = merge $server (dict "http_tls_config" $http) -}}
{{- $receivers := default dict (default dict $config.distributor).receivers -}}
{{- range list (list "otlp" "grpc") (list "otlp" "http") (list "jaeger" "grpc") (list "jaeger" "thrift_http") -}}
{{- $protocols := default dict (default dict (get $receivers (index . 0))).protocols -}}
{{- if hasKey $protocols (index . 1) -}}
{{- $_ := set $protocols (index . 1) (merge (default dict (get $protocols (index . 1))) (dict "tls" $asking)) -}}
{{- end -}}
{{- end -}}
{{- if hasKey $receivers "zipkin" -}}
{{- $_ := set $receivers "zipkin" (merge (default dict $receivers.zipkin) (dict "tls" $asking)) -}}
{{- end -}}
{{- end -}}
{{- $config = set $config "server" $server -}}
{{- if .Values.cluster.enabled -}}
{{- $cluster := dict "enabled" true "log" "bucket" "listen_address" (printf "0.0.0.0:%v" .Values.cluster.port) -}}
{{- $config = set $config "cluster" (merge (default dict $config.cluster) $cluster) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The ports that a Tempo of these receivers opens: name, number, protocol. */}}
{{- define "mosso.ports" -}}
{{- $receivers := default dict (tpl .Values.config . | fromYaml).distributor.receivers -}}
{{- $ports := list (dict "name" "http" "port" (include "mosso.config" . | fromYaml).server.http_listen_port) -}}
{{- range list (list "otlp" "grpc" "otlp-grpc" 4317) (list "otlp" "http" "otlp-http" 4318) (list "jaeger" "grpc" "jaeger-grpc" 14250) (list "jaeger" "thrift_http" "jaeger-http" 14268) (list "jaeger" "thrift_compact" "jaeger-compact" 6831) (list "jaeger" "thrift_binary" "jaeger-binary" 6832) -}}
{{- $protocols := default dict (get (default dict (get $receivers (index . 0))) "protocols") -}}
{{- if hasKey $protocols (index . 1) -}}
{{- $endpoint := default "" (get (default dict (get $protocols (index . 1))) "endpoint") -}}
{{- $port := $endpoint | splitList ":" | last | int | default (index . 3) -}}
{{- $ports = append $ports (dict "name" (index . 2) "port" $port "protocol" (ternary "UDP" "TCP" (has (index . 1) (list "thrift_compact" "thrift_binary")))) -}}
{{- end -}}
{{- end -}}
{{- if hasKey $receivers "zipkin" -}}
{{- $endpoint := default "" (get (default dict $receivers.zipkin) "endpoint") -}}
{{- $ports = append $ports (dict "name" "zipkin" "port" ($endpoint | splitList ":" | last | int | default 9411)) -}}
{{- end -}}
{{- toYaml $ports -}}
{{- end -}}
