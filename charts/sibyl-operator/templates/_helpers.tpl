{{- define "sibyl-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* At most 50 characters: names with a suffix must still be names of Services and pods. */ -}}
{{- define "sibyl-operator.fullname" -}}
{{- $name := include "sibyl-operator.name" . -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if contains $name .Release.Name -}}
{{- $full = .Release.Name -}}
{{- else if hasPrefix (printf "%s-" .Release.Name) $name -}}
{{- /* A release called sibyl makes sibyl-operator, not sibyl-sibyl-operator. */ -}}
{{- $full = $name -}}
{{- end -}}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- /* What finds the operator's pods: for ever the same, because a Deployment's selector cannot be changed. */ -}}
{{- define "sibyl-operator.selector" -}}
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/name: {{ include "sibyl-operator.name" . | quote }}
{{- end -}}

{{- define "sibyl-operator.podLabels" -}}
{{- $own := dict
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "sibyl"
  "app.kubernetes.io/version" .Chart.AppVersion
-}}
{{- toYaml (merge (include "sibyl-operator.selector" . | fromYaml) $own .Values.podLabels .Values.commonLabels) -}}
{{- end -}}

{{- define "sibyl-operator.labels" -}}
{{- $own := dict
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "sibyl"
  "app.kubernetes.io/version" .Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_")
-}}
{{- toYaml (merge (include "sibyl-operator.selector" . | fromYaml) $own .Values.commonLabels) -}}
{{- end -}}

{{- define "sibyl-operator.serviceAccountName" -}}
{{- $otherwise := ternary (include "sibyl-operator.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $otherwise .Values.serviceAccount.name -}}
{{- end -}}

{{- define "sibyl-operator.image" -}}
{{- with .Values.image -}}
{{- $repository := ternary (printf "%s/%s" .registry .repository) .repository (ne .registry "") -}}
{{- if .digest -}}
{{ $repository }}@{{ .digest }}
{{- else -}}
{{ $repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sibyl-operator.testLabels" -}}
app.kubernetes.io/component: test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/name: {{ include "sibyl-operator.name" . | quote }}
{{- end -}}

{{- define "sibyl-operator.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop:
  - ALL
readOnlyRootFilesystem: true
{{- end -}}

{{- define "sibyl-operator.podSecurityContext" -}}
runAsGroup: 65532
runAsNonRoot: true
runAsUser: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "sibyl-operator.serviceMonitor" -}}
{{- $mode := .Values.metrics.serviceMonitor.mode -}}
{{- $known := .Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor" -}}
{{- if or (eq $mode "Always") (and (eq $mode "Auto") $known) -}}true{{- end -}}
{{- end -}}

{{- define "sibyl-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "sibyl-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* What the process would refuse when it starts is refused here, before anything is installed. */ -}}
{{- define "sibyl-operator.validate" -}}
{{- with .Values.settings -}}
{{- if not (and (gt (float64 .leaseDuration) (float64 .renewDeadline)) (gt (float64 .renewDeadline) (float64 .retryPeriod))) -}}
{{- fail (printf "settings.leaseDuration (%v) must be longer than settings.renewDeadline (%v), and that longer than settings.retryPeriod (%v)" .leaseDuration .renewDeadline .retryPeriod) -}}
{{- end -}}
{{- if lt (float64 .kpiWindow) (mulf 2 .scrapeInterval) -}}
{{- fail (printf "settings.kpiWindow (%v) must be at least twice settings.scrapeInterval (%v): an indicator takes two scrapes" .kpiWindow .scrapeInterval) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if or (hasPrefix "SIBYL_OPERATOR_" .name) (eq .name "POD_NAME") -}}
{{- fail (printf "extraEnv: %s belongs to the chart; use settings, watch or metrics" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
