{{- /* "yes" when this action is one in which the chart misbehaves. */}}
{{- define "standin.now" -}}
{{- if or (eq .Values.when "always") (and (eq .Values.when "install") .Release.IsInstall) (and (eq .Values.when "upgrade") .Release.IsUpgrade) -}}
yes
{{- end -}}
{{- end }}

{{- /* What a simulated pod has to do to "complete", "fail" or "hang". */}}
{{- define "standin.ending" -}}
{{- if eq . "hang" }}never-ready{{ else }}{{ . }}{{ end -}}
{{- end }}
