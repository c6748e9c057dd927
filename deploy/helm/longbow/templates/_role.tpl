{{/* Objects that look the same for every role. */}}

{{/* ConfigMap with a role's settings file. Takes (dict "root" $ "role" ... "config" text). */}}
{{- define "longbow.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "longbow.fullname" .root }}-{{ .role }}
  labels:
    {{- include "longbow.labels" . | nindent 4 }}
data:
  {{ .role }}.toml: |
    {{- .config | nindent 4 }}
{{- end -}}

{{/*
Headless Service of a role. It publishes pods that are not ready yet: nodes must find each other in order to become ready.
Takes (dict "root" $ "role" ... "rpcPort" number).
*/}}
{{- define "longbow.headlessService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "longbow.fullname" .root }}-{{ .role }}-headless
  labels:
    {{- include "longbow.labels" . | nindent 4 }}
    longbow.io/scrape: "true"
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "longbow.selector" . | nindent 4 }}
  ports:
    - {name: grpc, port: {{ .rpcPort }}, targetPort: {{ .rpcPort }}, protocol: TCP}
    - {name: http, port: 9090, targetPort: http, protocol: TCP}
    - {name: gossip, port: 7946, targetPort: gossip, protocol: UDP}
{{- end -}}

{{/* PodDisruptionBudget of a role. Takes (dict "root" $ "role" ... "values" (the role's)). */}}
{{- define "longbow.podDisruptionBudget" -}}
{{- if .values.podDisruptionBudget.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "longbow.fullname" .root }}-{{ .role }}
  labels:
    {{- include "longbow.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  # A pod that never becomes ready must not keep a host from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "longbow.selector" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* StatefulSet of a role. Takes what longbow.pod takes. */}}
{{- define "longbow.statefulSet" -}}
{{- $full := include "longbow.fullname" .root -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $full }}-{{ .role }}
  labels:
    {{- include "longbow.labels" . | nindent 4 }}
spec:
  replicas: {{ .values.replicas }}
  serviceName: {{ $full }}-{{ .role }}-headless
  # All at once: the first one becomes ready only when the others are there.
  podManagementPolicy: Parallel
  updateStrategy:
    type: RollingUpdate
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: Retain
    whenScaled: Retain
  selector:
    matchLabels:
      {{- include "longbow.selector" . | nindent 6 }}
  template:
    {{- include "longbow.pod" . | nindent 4 }}
  volumeClaimTemplates:
    - metadata:
        name: data
        labels:
          {{- include "longbow.selector" . | nindent 10 }}
        {{- with .values.storage.annotations }}
        annotations:
          {{- toYaml . | nindent 10 }}
        {{- end }}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .values.storage.storageClassName }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .values.storage.size }}
{{- end -}}

{{/* The settings file of a role, with what only that role has. Takes $ and gives TOML. */}}
{{- define "longbow.routerSettings" -}}
{{- $any := include "longbow.anyAddress" . -}}
{{- $settings := dict "router.listen_addr" (printf "%s:3000" $any) "router.meta_addr" (printf "%s:3001" $any) -}}
{{- if .Values.router.apiKey.existingSecret -}}
{{- $_ := set $settings "router.api_key_file" "/etc/longbow/api-key/api-key" -}}
{{- end -}}
{{- include "longbow.settingsFile" (dict "root" . "values" .Values.router "settings" $settings) -}}
{{- end -}}

{{- define "longbow.shardSettings" -}}
{{- $settings := dict "rpc.listen_addr" (printf "%s:3100" (include "longbow.anyAddress" .)) -}}
{{- include "longbow.settingsFile" (dict "root" . "values" .Values.shard "settings" $settings) -}}
{{- end -}}

{{- define "longbow.walKeeperSettings" -}}
{{- $settings := dict
  "rpc.listen_addr" (printf "%s:3200" (include "longbow.anyAddress" .))
  "keeper.initial_voters" (include "longbow.voters" . | fromJsonArray)
-}}
{{- include "longbow.settingsFile" (dict "root" . "values" .Values.walKeeper "settings" $settings) -}}
{{- end -}}
