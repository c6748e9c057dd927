{{/* What are objects called, and how are they labelled? */}}

{{/* Prefix of object names. Node ids are pod names, at most 63 characters, of which a router's pod adds 24. */}}
{{- define "longbow.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 38 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that never change: role is router, shard, wal-keeper or cluster. Takes (dict "root" $ "role" ...). */}}
{{- define "longbow.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* All labels of an object. Takes (dict "root" $ "role" ...). */}}
{{- define "longbow.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{ include "longbow.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: longbow
{{- end -}}

{{/* Name of the Secret with the cluster's id and secret. */}}
{{- define "longbow.secretName" -}}
{{- default (printf "%s-cluster" (include "longbow.fullname" .)) .Values.cluster.existingSecret -}}
{{- end -}}

{{/* Name of the service account. */}}
{{- define "longbow.serviceAccountName" -}}
{{- default (ternary (include "longbow.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}
