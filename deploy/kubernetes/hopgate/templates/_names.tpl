{{- define "hopgate.name" -}}
{{- printf "%s-hopgate" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "hopgate.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end }}

{{- define "hopgate.labels" -}}
app.kubernetes.io/name: hopgate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "hopgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "hopgate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "hopgate.traces" -}}
{{- with .Values.traces.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: grpc}
{{- end }}
{{- end }}

{{- /* What one value alone can't show; said before anything is rendered. */}}
{{- define "hopgate.check" -}}
{{- $v := .Values }}
{{- if or (eq $v.image.tag "latest") (eq $v.initImage.tag "latest") }}{{ fail "image.tag and initImage.tag name a version: latest is another one tomorrow" }}{{ end }}
{{- if $v.control.enabled }}
  {{- if not $v.control.etcd.endpoints }}{{ fail "control.etcd.endpoints is empty: name the members of an etcd cluster, like https://etcd-0.etcd:2379, or set control.enabled=false" }}{{ end }}
  {{- if and $v.control.etcd.user (not $v.control.etcd.passwordSecret) }}{{ fail "control.etcd.passwordSecret is empty: name the secret with the password of control.etcd.user" }}{{ end }}
{{- else if and $v.proxies.regions (not $v.proxies.control) }}{{ fail "proxies.control is empty: without control.enabled name the control planes, like control.example.com:4002" }}
{{- end }}
{{- if and (eq $v.proxies.certificates.mode "csi") (not $v.proxies.certificates.issuer.name) }}{{ fail "proxies.certificates.issuer.name is empty: mode csi needs the issuer of the data planes' certificates" }}{{ end }}
{{- $seen := dict }}
{{- range $v.proxies.regions }}
  {{- if hasKey $seen .name }}{{ fail (printf "proxies.regions: %s is there twice; give it more replicas instead" .name) }}{{ end }}
  {{- $_ := set $seen .name true }}
  {{- with .autoscaling }}
    {{- if lt (int .maxReplicas) (int .minReplicas) }}{{ fail (printf "proxies.regions: autoscaling.maxReplicas %d is below minReplicas %d" (int .maxReplicas) (int .minReplicas)) }}{{ end }}
  {{- end }}
{{- end }}
{{- end }}
