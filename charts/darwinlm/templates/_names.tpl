{{/* Names, labels and images that several templates share. */}}

{{- define "darwinlm.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "darwinlm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{- $name := include "darwinlm.name" . -}}
{{- if contains $name .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The Service's: unlike other names, a Service's has 63 characters at most, all of its suffix among them. */}}
{{- define "darwinlm.metricsName" -}}
{{ include "darwinlm.fullname" . | trunc 55 | trimSuffix "-" }}-metrics
{{- end }}

{{- define "darwinlm.selector" -}}
app.kubernetes.io/name: {{ include "darwinlm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "darwinlm.labels" -}}
{{ include "darwinlm.selector" . }}
app.kubernetes.io/part-of: darwinlm
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "darwinlm.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "darwinlm.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{/* An image reference out of (dict "image" <image> "version" <default tag>); "@sha256:…" pins a digest. */}}
{{- define "darwinlm.image" -}}
{{- $tag := default .version .image.tag -}}
{{- if hasPrefix "@" $tag -}}
{{ .image.repository }}{{ $tag }}
{{- else -}}
{{ .image.repository }}:{{ $tag }}
{{- end -}}
{{- end }}

{{/* What the operator may do; the same rules for every namespace or for those watched. */}}
{{- define "darwinlm.rules" -}}
# patch: the finalizer of a run whose prefix is to be removed. delete: ttlSecondsAfterFinished.
- apiGroups: [darwinlm.io]
  resources: [pruningruns]
  verbs: [list, watch, patch, delete]
- apiGroups: [darwinlm.io]
  resources: [pruningruns/status]
  verbs: [patch]
# Lets owner references with blockOwnerDeletion pass where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [darwinlm.io]
  resources: [pruningruns/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# Whether a run's claims are there, and whether its workers can share them.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
# Written of runs; listed of one Job, pod or claim that stands still, for what is said nowhere else.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch, list]
{{- end }}

{{/* With kueue.enabled: why a Job waits in its queue. */}}
{{- define "darwinlm.kueueRules" -}}
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list]
{{- end }}

{{/* Leader election, in the operator's own namespace. A name cannot restrict what is created. */}}
{{- define "darwinlm.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "darwinlm.fullname" . }}]
  verbs: [get, update]
{{- end }}

{{/* The worker pods of every run. */}}
{{- define "darwinlm.workers" -}}
app.kubernetes.io/name: darwinlm
app.kubernetes.io/managed-by: darwinlm-operator
{{- end }}

{{/* The egress rule that lets a pod look names up. */}}
{{- define "darwinlm.names" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}
