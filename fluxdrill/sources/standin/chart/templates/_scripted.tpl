{{- /* "yes" when this action is one in which the chart misbehaves. */}}
{{- define "standin.now" -}}
{{- $action := or (eq .Values.when "always") (and (eq .Values.when "install") .Release.IsInstall) (and (eq .Values.when "upgrade") .Release.IsUpgrade) -}}
{{- $revision := or (empty .Values.revisions) (has (toString .Release.Revision) (toStrings .Values.revisions)) -}}
{{- if and $action $revision }}yes{{ end -}}
{{- end }}

{{- /* What the pods of the workload do now. */}}
{{- define "standin.behaviour" -}}
{{- if include "standin.now" . }}{{ .Values.behaviour }}{{ else }}ready{{ end -}}
{{- end }}

{{- /* What pods that end do now: (list . "fail") gives "fail", or "complete" while the chart behaves. */}}
{{- define "standin.ending" -}}
{{- $asked := index . 1 -}}
{{- if not (include "standin.now" (index . 0)) }}complete{{ else if eq $asked "hang" }}never-ready{{ else }}{{ $asked }}{{ end -}}
{{- end }}

{{- /* The name of the claim that the pods use; "" for none. */}}
{{- define "standin.claim" -}}
{{- with .Values.persistence -}}
{{- if .existingClaim }}{{ .existingClaim }}{{ else if .enabled }}{{ $.Release.Name }}-data{{ end -}}
{{- end -}}
{{- end }}
