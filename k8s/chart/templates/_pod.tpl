{{/* Values that cannot work, refused with the reason. */}}
{{- define "mosso.check" -}}
{{- if .Values.cluster.enabled -}}
{{- if eq (dig "storage" "trace" "backend" "local" (include "mosso.config" . | fromYaml)) "local" -}}
{{ fail "cluster.enabled: the processes share a bucket, so tempo.storage.trace.backend has to be s3, gcs or azure" }}
{{- end -}}
{{- if .Values.tempo.metricsGenerator.enabled -}}
{{ fail "cluster.enabled: metrics from spans (tempo.metricsGenerator.enabled) need a log on a disk" }}
{{- end -}}
{{- else if gt (int .Values.replicas) 1 -}}
{{ fail "replicas: one process owns the volume, so there can be only 1; cluster.enabled makes several over a bucket" }}
{{- end -}}
{{- if (.Values.tempoQuery | default dict).enabled }}{{ fail "tempoQuery.enabled: there is no Jaeger page in this chart; use Grafana" }}{{ end -}}
{{- range $name, $route := .Values.route }}{{ if $route.enabled }}{{ fail (printf "route.%s.enabled: this chart makes no HTTPRoute; point one of your own at the Service" $name) }}{{ end }}{{ end -}}
{{- end -}}

{{/* The pod of one process with a volume, or with a part (writer, querier, compactor) that of a process of a cluster. */}}
{{- define "mosso.pod" -}}
{{- $root := .root -}}
{{- $part := .part -}}
{{- $own := ternary (get $root.Values (.part | default "none")) dict (ne .part "") -}}
{{- with $root -}}
metadata:
  labels:
    {{- include "mosso.selectorLabels" . | nindent 4 }}
    {{- with $part }}
    app.kubernetes.io/component: {{ . }}
    {{- end }}
    {{- with merge (dict) .Values.podLabels .Values.extraLabels .Values.global.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A changed configuration rolls the pod.
    checksum/config: {{ include (print $root.Template.BasePath "/configmap.yaml") . | sha256sum }}
    {{- with merge (dict) ($own.podAnnotations | default dict) .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "mosso.serviceAccountName" . }}
  automountServiceAccountToken: {{ .Values.serviceAccount.automountServiceAccountToken }}
  # The Service's name would come back as MOSSO_PORT and its like in the environment.
  enableServiceLinks: false
  {{- if $part }}
  # After preStop, a writer publishes what it has for up to 15 s; the rest is room for a slow bucket.
  terminationGracePeriodSeconds: 45
  {{- else }}
  # A stop drains and syncs in under 5 s; the rest is room for a slow disk.
  terminationGracePeriodSeconds: 30
  {{- end }}
  {{- with $own.priorityClassName | default .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.tempo.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .Values.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml (ternary (omit .Values.securityContext "fsGroup" "fsGroupChangePolicy") .Values.securityContext (ne $part "")) | nindent 4 }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: mosso
      image: {{ with .Values.global.imageRegistry | default .Values.tempo.registry }}{{ . }}/{{ end }}{{ .Values.tempo.repository }}:{{ .Values.tempo.tag | default .Chart.AppVersion }}
      imagePullPolicy: {{ .Values.tempo.pullPolicy }}
      args:
        - -config.file=/conf/mosso.yaml
        {{- if $part }}
        - -target={{ $part }}
        - -cluster.advertise-address=$(POD_IP):{{ .Values.cluster.port }}
        - -cluster.zone=$(ZONE)
        {{- end }}
        {{- range $name, $value := merge (dict) ($own.extraArgs | default dict) .Values.tempo.extraArgs }}
        - {{ printf "-%s=%v" $name $value | quote }}
        {{- end }}
      ports:
        {{- range include "mosso.portsOf" (dict "root" . "part" $part) | fromYamlArray }}
        - name: {{ .name }}
          containerPort: {{ .port }}
          protocol: {{ default "TCP" .protocol }}
        {{- end }}
        {{- if $part }}
        - name: cluster
          containerPort: {{ .Values.cluster.port }}
          protocol: TCP
        {{- end }}
      {{- range $probe := list "startupProbe" "readinessProbe" "livenessProbe" }}
      {{- with index (ternary (merge (dict) $root.Values.cluster $root.Values.tempo) $root.Values.tempo (ne $part "")) $probe }}
      {{ $probe }}:
        {{- $https := dict "httpGet" (dict "scheme" "HTTPS") }}
        {{- toYaml (ternary (merge (deepCopy .) $https) . (and $root.Values.tls.enabled (hasKey . "httpGet"))) | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- with concat (ternary (include "mosso.podFields" . | fromYamlArray) list (ne $part "")) .Values.tempo.extraEnv ($own.extraEnv | default list) }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.tempo.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if $part }}
      # It goes on until names resolve to it no more.
      lifecycle:
        preStop:
          sleep:
            seconds: 10
      {{- end }}
      resources:
        {{- toYaml ($own.resources | default .Values.tempo.resources) | nindent 8 }}
      securityContext:
        {{- toYaml .Values.tempo.securityContext | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /conf
          readOnly: true
        {{- if .Values.tls.enabled }}
        - name: tls
          mountPath: /tls
          readOnly: true
        {{- end }}
        {{- if not $part }}
        - name: storage
          mountPath: /var/mosso
        # Where values for Tempo put storage.trace.local.path and storage.trace.wal.path.
        - name: storage
          mountPath: /var/tempo
        {{- end }}
        - name: tmp
          mountPath: /tmp
        {{- with .Values.tempo.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $own.nodeSelector | default .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.affinity | default .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations | default .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.topologySpreadConstraints | default .Values.topologySpreadConstraints | default (include "mosso.spread" (dict "root" . "part" $part) | fromYamlArray) }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumes:
    - name: config
      projected:
        sources:
          - configMap:
              name: {{ include "mosso.fullname" . }}
          - configMap:
              name: {{ .Values.tempo.overridesConfigMap | default (printf "%s-overrides" (include "mosso.fullname" .)) }}
    {{- if .Values.tls.enabled }}
    - name: tls
      secret:
        secretName: {{ required "tls.secretName: name a Secret with tls.crt and tls.key" .Values.tls.secretName }}
        # Readable for the group of the pod.
        defaultMode: 0440
    {{- end }}
    - name: tmp
      emptyDir: {}
    {{- if and (not $part) (not .Values.persistence.enabled) }}
    - name: storage
      emptyDir: {}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}

{{/* What the flags of a process of a cluster are filled with. Each start registers under its address, so no name has to stand still. */}}
{{- define "mosso.podFields" -}}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
# Pods have the zone of their node as a label from Kubernetes 1.35 on; before, this is empty. It is told, and decides nothing.
- name: ZONE
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['topology.kubernetes.io/zone']
{{- end -}}

{{/* One node or zone lost is one pod of a part lost, where there are several. */}}
{{- define "mosso.spread" -}}
{{- if .part -}}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "mosso.selectorLabels" $.root | nindent 6 }}
      app.kubernetes.io/component: {{ $.part }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Writers open the ports of the receivers, and every process that of HTTP. */}}
{{- define "mosso.portsOf" -}}
{{- $ports := include "mosso.ports" .root | fromYamlArray -}}
{{- if has .part (list "querier" "compactor") -}}
{{- $ports = list (first $ports) -}}
{{- end -}}
{{- toYaml $ports -}}
{{- end -}}
