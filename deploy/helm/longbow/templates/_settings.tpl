{{/* With which settings does a role start? */}}

{{/* Every address of every interface, in the family of the pods. */}}
{{- define "longbow.anyAddress" -}}
{{- ternary "[::]" "0.0.0.0" (eq .Values.ipFamily "IPv6") -}}
{{- end -}}

{{/* The pod's own address, expanded by Kubernetes from the downward API. */}}
{{- define "longbow.podAddress" -}}
{{- ternary "[$(POD_IP)]" "$(POD_IP)" (eq .Values.ipFamily "IPv6") -}}
{{- end -}}

{{/* Gossip seeds: the headless names resolve to every keeper and shard, ready or not. */}}
{{- define "longbow.seeds" -}}
{{- $full := include "longbow.fullname" . -}}
{{- $seeds := list -}}
{{- range list "wal-keeper" "shard" -}}
{{- $seeds = append $seeds (printf "%s-%s-headless.%s.svc:7946" $full . $.Release.Namespace) -}}
{{- end -}}
{{- toJson $seeds -}}
{{- end -}}

{{/* Node ids of the first voters, in the order that gives each its raft id. */}}
{{- define "longbow.voters" -}}
{{- $full := include "longbow.fullname" . -}}
{{- $voters := list -}}
{{- range until (int .Values.walKeeper.replicas) -}}
{{- $voters = append $voters (printf "%s-wal-keeper-%d" $full .) -}}
{{- end -}}
{{- toJson $voters -}}
{{- end -}}

{{/*
The settings file of a role: what every role has, what the role adds, what the user sets; the later wins.
Takes (dict "root" $ "settings" (the role's) "values" (the role's values)).
Keys stand dotted at the top, values as JSON, which TOML reads alike.
*/}}
{{- define "longbow.settingsFile" -}}
{{- $any := include "longbow.anyAddress" .root -}}
{{- $common := dict
  "cluster.secret_file" "/etc/longbow/cluster/cluster-secret"
  "data_path" "/var/lib/longbow"
  "gossip.listen_addr" (printf "%s:7946" $any)
  "gossip.seeds" (include "longbow.seeds" .root | fromJsonArray)
  "http.listen_addr" (printf "%s:9090" $any)
  "log.level" .root.Values.log.level
  "log.format" .root.Values.log.format
-}}
{{- range $key, $value := merge (dict) .values.settings .settings $common }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end -}}
