{{- define "corsproxy.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "corsproxy.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "corsproxy.labels" -}}
{{ include "corsproxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "corsproxy.image" -}}
{{- .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- define "corsproxy.configMap" -}}
{{- .Values.existingConfigMap | default (include "corsproxy.name" .) -}}
{{- end -}}

{{- /* The file. Without routes there is nothing to serve, and it should be helm that says so, not a pod. */ -}}
{{- define "corsproxy.config" -}}
{{- if not .Values.config.routes }}
{{- fail "\nconfig.routes is empty: name the API and who may call it, for example\n\n  config:\n    routes:\n      - upstream: http://legacy-api:9000\n        cors:\n          allow_origins: [https://app.example.com]\n\nor point existingConfigMap at a ConfigMap of your own" }}
{{- end }}
{{- range $key, $port := dict "listen" "8080" "admin" "8081" }}
{{- $address := get $.Values.config $key }}
{{- if kindIs "map" $address }}{{ $address = get $address "address" }}{{ end }}
{{- if not (hasSuffix (printf ":%s" $port) (toString $address)) }}
{{- fail (printf "\nconfig.%s is %v, but the pod's port, its probes and the network policy are for %s: write 0.0.0.0:%s" $key $address $port $port) }}
{{- end }}
{{- end }}
{{- toYaml .Values.config }}
{{- end -}}
