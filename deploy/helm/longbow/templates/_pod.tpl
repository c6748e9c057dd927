{{/* What does every pod have? */}}

{{/*
Metadata and spec of a role's pod. Takes (dict "root" $ "role" ... "values" (the role's) "config" (its ConfigMap's text)
"ports" (list of dicts) "rpcPort" number "data" (list of one volume for the data, or empty)).
*/}}
{{- define "longbow.pod" -}}
{{- $full := include "longbow.fullname" .root -}}
metadata:
  labels:
    {{- include "longbow.selector" . | nindent 4 }}
    {{- with .root.Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/settings: {{ .config | sha256sum }}
    {{- with .root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  # Service links would inject names such as LONGBOW_ROUTER_PORT=tcp://..., which look like settings.
  enableServiceLinks: false
  serviceAccountName: {{ include "longbow.serviceAccountName" .root }}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ .root.Values.terminationGracePeriodSeconds }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  topologySpreadConstraints:
    {{- $spread := .root.Values.topologySpread }}
    {{- $selector := include "longbow.selector" . }}
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: {{ $spread }}
      labelSelector:
        matchLabels:
          {{- $selector | nindent 10 }}
    {{- end }}
  {{- with .values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: "{{ .root.Values.image.repository }}:{{ default .root.Chart.AppVersion .root.Values.image.tag }}"
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: ["/usr/local/bin/longbow-{{ .role }}"]
      args: ["--config", "/etc/longbow/settings/{{ .role }}.toml"]
      env:
        {{- include "longbow.podEnv" . | nindent 8 }}
        {{- with .values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- range concat .ports (list (dict "name" "http" "port" 9090) (dict "name" "gossip" "port" 7946 "protocol" "UDP")) }}
        - name: {{ .name }}
          containerPort: {{ .port }}
          protocol: {{ default "TCP" .protocol }}
        {{- end }}
      # A start may replay a long log: 10 minutes. Afterwards a process that does not answer for a minute is stuck.
      startupProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 2
        failureThreshold: 300
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 3
        timeoutSeconds: 2
        failureThreshold: 2
      # Endpoints forget the pod before it stops taking requests.
      lifecycle:
        preStop:
          sleep: {seconds: 5}
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - {name: data, mountPath: /var/lib/longbow}
        - {name: settings, mountPath: /etc/longbow/settings, readOnly: true}
        - {name: cluster, mountPath: /etc/longbow/cluster, readOnly: true}
        {{- if .apiKey }}
        - {name: api-key, mountPath: /etc/longbow/api-key, readOnly: true}
        {{- end }}
  volumes:
    - name: settings
      configMap:
        name: {{ $full }}-{{ .role }}
    - name: cluster
      secret:
        secretName: {{ include "longbow.secretName" .root }}
        defaultMode: 0440
        items:
          - {key: cluster-secret, path: cluster-secret}
    {{- if .apiKey }}
    - name: api-key
      secret:
        secretName: {{ .apiKey.existingSecret }}
        defaultMode: 0440
        items:
          - {key: {{ .apiKey.key | quote }}, path: api-key}
    {{- end }}
    {{- if .ephemeral }}
    - name: data
      emptyDir: {}
    {{- end }}
{{- end -}}

{{/* What a pod knows of itself: its name is its node id, its address is what it advertises. */}}
{{- define "longbow.podEnv" -}}
{{- $address := include "longbow.podAddress" .root -}}
- name: POD_NAME
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
- name: POD_IP
  valueFrom:
    fieldRef: {fieldPath: status.podIP}
- name: LONGBOW_CLUSTER_ID
  valueFrom:
    secretKeyRef: {name: {{ include "longbow.secretName" .root }}, key: cluster-id}
- name: LONGBOW_NODE_ID
  value: "$(POD_NAME)"
- name: LONGBOW_GOSSIP_ADVERTISE_ADDR
  value: "{{ $address }}:7946"
- name: LONGBOW_RPC_ADVERTISE_ADDR
  value: "{{ $address }}:{{ .rpcPort }}"
{{- end -}}
