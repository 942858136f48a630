{{/* Names are made as the Network Operator's chart makes them: its objects are replaced in place by an upgrade. */}}
{{- define "netmon.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "netmon.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "netmon.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "netmon.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* A DaemonSet's selector cannot be changed: these three are the Network Operator's. */}}
{{- define "netmon.selector" -}}
app.kubernetes.io/name: {{ include "netmon.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app: zxporter-netmon
{{- end -}}

{{- define "netmon.labels" -}}
{{ include "netmon.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Annotations of an object: those of all, then its own; nothing where there are none. */}}
{{- define "netmon.annotations" -}}
{{- $all := .root.Values.commonAnnotations | default dict -}}
{{- with merge (deepCopy (.own | default dict)) $all -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* Registry, repository, and digest or tag. */}}
{{- define "netmon.image" -}}
{{- $registry := (.Values.global | default dict).imageRegistry | default .Values.image.registry -}}
{{- $name := ternary (printf "%s/%s" $registry .Values.image.repository) .Values.image.repository (ne ($registry | default "") "") -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Secrets for the registry: the global ones may be names alone. */}}
{{- define "netmon.pullSecrets" -}}
{{- $all := .Values.imagePullSecrets | default list -}}
{{- range (.Values.global | default dict).imagePullSecrets -}}
{{- $all = append $all (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- with $all -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* What a monitor says of a scrape. */}}
{{- define "netmon.scrape" -}}
# Series name pods of others: the label namespace is theirs, not that of the agent's own pod.
honorLabels: {{ .honorLabels }}
interval: {{ .interval }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What cannot work, each with its reason. */}}
{{- define "netmon.check" -}}
{{- if not (and .Values.state .Values.config .Values.prometheusRule) -}}
{{- fail "values of another chart are reused and defaults of this one are missing: helm upgrade --reset-then-reuse-values (or --reset-values -f FILE) in the place of --reuse-values" -}}
{{- end -}}
{{- with include "netmon.elsewhere" . -}}
{{- fail (printf "values that this chart has elsewhere, or not at all:%s" .) -}}
{{- end -}}
{{- $surge := ((.Values.updateStrategy | default dict).rollingUpdate | default dict).maxSurge -}}
{{- if and $surge (ne (toString $surge) "0") (ne (toString $surge) "0%") -}}
{{- fail "updateStrategy.rollingUpdate.maxSurge: a new pod cannot start beside the old one, for both listen on one port of the node and count the same bytes; use maxUnavailable" -}}
{{- end -}}
{{- end -}}

{{/* A bare on or off is a truth value in YAML 1.1. */}}
{{- define "netmon.dns" -}}
{{- get (dict "false" "off" "true" "on" "off" "off" "on" "on") (toString .Values.config.dns) | default "auto" -}}
{{- end -}}

{{- define "netmon.capabilities" -}}
{{- $mode := .Values.config.collectorMode -}}
{{- $needed := list -}}
{{- if eq $mode "netfilter" -}}
{{- $needed = list "NET_ADMIN" -}}
{{- else if eq $mode "ebpf" -}}
{{- $needed = list "BPF" "NET_ADMIN" -}}
{{- else if eq $mode "auto" -}}
{{- $needed = list "BPF" "NET_ADMIN" -}}
{{- else if eq $mode "cilium" -}}
{{- $needed = ternary (list "BPF") (list "BPF" "NET_ADMIN") (eq .Values.config.fallback "none") -}}
{{- end -}}
{{- /* Names are learnt by programs of our own, beside any mode. */ -}}
{{- if ne (include "netmon.dns" .) "off" -}}
{{- $needed = list "BPF" "NET_ADMIN" -}}
{{- end -}}
{{- concat $needed .Values.extraCapabilities | uniq | toYaml -}}
{{- end -}}

{{/* The container's: the user's word for word, else the profile's. */}}
{{- define "netmon.securityContext" -}}
{{- if .Values.securityContext -}}
{{- toYaml .Values.securityContext -}}
{{- else if eq .Values.securityProfile "compat" -}}
privileged: true
appArmorProfile:
  type: Unconfined
capabilities:
  add:
    - NET_ADMIN
    - SYS_RESOURCE
{{- else -}}
{{- /* Cilium's pinned maps can be opened by root alone. */ -}}
{{- $root := eq .Values.config.collectorMode "cilium" -}}
runAsUser: {{ ternary 0 65532 $root }}
runAsGroup: {{ ternary 0 65532 $root }}
{{- if not $root }}
runAsNonRoot: true
{{- end }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
  add:
    {{- include "netmon.capabilities" . | nindent 4 }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}
{{- end -}}

{{/* The pods': the user's word for word. A context written for an image that runs as root gets root. */}}
{{- define "netmon.podSecurityContext" -}}
{{- if .Values.podSecurityContext -}}
{{- toYaml .Values.podSecurityContext -}}
{{- else if and (or .Values.securityContext (eq .Values.securityProfile "compat")) (not .Values.securityContext.runAsNonRoot) -}}
runAsUser: 0
{{- end -}}
{{- end -}}

{{/* The user that the agent runs as, where the chart decides it; else nothing. */}}
{{- define "netmon.user" -}}
{{- if not (or .Values.securityContext .Values.podSecurityContext (eq .Values.securityProfile "compat") (eq .Values.config.collectorMode "cilium")) -}}
65532
{{- end -}}
{{- end -}}

{{- define "netmon.podAnnotations" -}}
{{- $annotations := dict -}}
{{- if and (eq .Values.securityProfile "compat") (not .Values.securityContext) -}}
{{- $_ := set $annotations "container.apparmor.security.beta.kubernetes.io/zxporter-netmon" "unconfined" -}}
{{- end -}}
{{- if .Values.prometheusScrape -}}
{{- $_ := set $annotations "prometheus.io/scrape" "true" -}}
{{- $_ := set $annotations "prometheus.io/path" "/metrics" -}}
{{- $_ := set $annotations "prometheus.io/port" (printf "%d" (int .Values.config.containerPort)) -}}
{{- end -}}
{{- if include "netmon.ownsToken" . -}}
{{- $_ := set $annotations "checksum/token" (sha256sum .Values.config.clusterToken) -}}
{{- end -}}
{{- with merge (deepCopy (.Values.podAnnotations | default dict)) $annotations -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* "true" where the release keeps the token in a Secret of its own. */}}
{{- define "netmon.ownsToken" -}}
{{- if and .Values.config.clusterToken (not .Values.config.existingSecret.name) -}}true{{- end -}}
{{- end -}}

{{/* The ConfigMap with the ranges that somebody wrote; empty where there is none. */}}
{{- define "netmon.rangesConfigMap" -}}
{{- $own := ternary (printf "%s-topology" (include "netmon.fullname" .)) "" (ne .Values.topology.ranges "") -}}
{{- .Values.topology.existingConfigMap.name | default $own -}}
{{- end -}}

{{- define "netmon.rangesKey" -}}
{{- ternary .Values.topology.existingConfigMap.key "topology" (ne .Values.topology.existingConfigMap.name "") -}}
{{- end -}}

{{- define "netmon.publishedConfigMap" -}}
{{ include "netmon.fullname" . }}-topology-published
{{- end -}}

{{/* The ConfigMap that the agents mount; empty where there is none. */}}
{{- define "netmon.topologyConfigMap" -}}
{{- if .Values.topology.publish.enabled -}}
{{- include "netmon.publishedConfigMap" . -}}
{{- else -}}
{{- include "netmon.rangesConfigMap" . -}}
{{- end -}}
{{- end -}}

{{- define "netmon.topologyKey" -}}
{{- if .Values.topology.publish.enabled -}}
topology
{{- else -}}
{{- include "netmon.rangesKey" . -}}
{{- end -}}
{{- end -}}

{{/* "true" where the agents tell scopes by more than the node itself. */}}
{{- define "netmon.locates" -}}
{{- if or (include "netmon.topologyConfigMap" .) (ne .Values.topology.source "none") -}}true{{- end -}}
{{- end -}}

{{/* The labels of the pod that publishes: not those of the agents, whose Service and monitors it is none of. */}}
{{- define "netmon.publisherSelector" -}}
app: zxporter-netmon-topology
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}-topology
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "netmon.args" -}}
{{- $c := .Values.config -}}
- -collector-mode={{ $c.collectorMode }}
- -log-level={{ $c.logLevel }}
{{- with $c.logFormat }}
- -log-format={{ . }}
{{- end }}
- {{ printf "-metrics-bind-address=%s:%d" (ternary (printf "[%s]" $c.bindHost) $c.bindHost (contains ":" $c.bindHost)) (int $c.containerPort) | quote }}
{{- with $c.fallback }}
- -fallback={{ . }}
{{- end }}
{{- with $c.readInterval }}
- -read-interval={{ . }}
{{- end }}
{{- with $c.cleanupInterval }}
- -cleanup-interval={{ . }}
{{- end }}
{{- if $c.cgroupFs }}
- -cgroup-fs=/host/cgroup
{{- end }}
{{- with $c.clusterCidrs }}
- {{ printf "-cluster-cidrs=%s" (join "," .) | quote }}
{{- end }}
{{- with $c.outsideCidrs }}
- {{ printf "-outside-cidrs=%s" (join "," .) | quote }}
{{- end }}
{{- with $c.overlayPorts }}
- {{ printf "-overlay-ports=%s" (join "," .) | quote }}
{{- end }}
{{- if ne (include "netmon.dns" .) "auto" }}
- -dns={{ include "netmon.dns" . }}
{{- end }}
{{- with $c.dnsPorts }}
- {{ printf "-dns-ports=%s" (join "," .) | quote }}
{{- end }}
{{- with $c.pushInbound }}
- -push-inbound={{ . }}
{{- end }}
{{- with $c.dakrProtocol }}
- -dakr-protocol={{ . }}
{{- end }}
{{- with $c.caFile }}
- {{ printf "-ca-file=%s" . | quote }}
{{- end }}
{{- with $c.metricsAllow }}
- {{ printf "-metrics-allow=%s" (join "," .) | quote }}
{{- end }}
{{- with $c.metricsFormat }}
- -metrics-format={{ . }}
{{- end }}
{{- with $c.conntrackZone }}
- -conntrack-zone={{ . }}
{{- end }}
{{- if not $c.manageConntrack }}
- -manage-conntrack=false
{{- end }}
{{- with $c.maxRows }}
- -max-rows={{ int . }}
{{- end }}
{{- with $c.maxConnections }}
- -max-connections={{ int . }}
{{- end }}
{{- if $c.existingSecret.name }}
- {{ printf "-token-file=/etc/zxporter-token/%s" $c.existingSecret.key | quote }}
{{- end }}
{{- if include "netmon.topologyConfigMap" . }}
- {{ printf "-topology=/etc/zxporter-topology/%s" (include "netmon.topologyKey" .) | quote }}
{{- end }}
{{- if ne .Values.topology.source "none" }}
- -topology-source={{ .Values.topology.source }}
{{- end }}
{{- with .Values.topology.zone }}
- {{ printf "-zone=%s" . | quote }}
{{- end }}
{{- with .Values.topology.region }}
- {{ printf "-region=%s" . | quote }}
{{- end }}
{{- if .Values.opencost.enabled }}
- -opencost-series
{{- with .Values.opencost.hold }}
- -opencost-hold={{ . }}
{{- end }}
{{- end }}
{{- if ne .Values.state.type "none" }}
- -state-dir=/var/lib/zxporter-netmon
{{- end }}
{{- range $c.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}
