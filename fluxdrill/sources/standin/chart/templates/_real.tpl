{{- /* What makes a real pod do what its annotations make a simulated one do. The file heals it by hand; a port is cheaper to probe than a command. */}}

{{- /* A Go duration as whole seconds, rounded up. */}}
{{- define "standin.seconds" -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" . -1 -}}
{{- $unit := get (dict "ms" 0.001 "s" 1 "m" 60 "h" 3600) (regexFind "[a-z]+" .) -}}
{{- $seconds = addf $seconds (mulf (regexFind "[0-9.]+" .) $unit) -}}
{{- end -}}
{{- ceil $seconds | int -}}
{{- end }}

{{- /* The shell script of a behaviour: (list . "crash-loop" "2s"). */}}
{{- define "standin.script" -}}
{{- $behaviour := index . 1 -}}
sleep {{ include "standin.seconds" (index . 2) }}
{{ if eq $behaviour "ready" -}}
touch /dev/shm/ready
{{ end -}}
{{ if eq $behaviour "oom-kill" -}}
exec tail /dev/zero
{{ else if eq $behaviour "complete" -}}
exit 0
{{ else if has $behaviour (list "crash-loop" "fail") -}}
exit 1
{{ else -}}
until test -e /dev/shm/ready; do sleep 1; done
exec httpd -f -p 8099 -h /dev/shm
{{ end -}}
{{- end }}

{{- /* The image of a behaviour: one that nobody can pull where that is asked for. */}}
{{- define "standin.image" -}}
{{- if eq (index . 1) "image-pull-error" }}absent.invalid/absent:0{{ else }}{{ (index . 0).Values.image }}{{ end -}}
{{- end }}

{{- /* A container that ends: (list . "fail"). */}}
{{- define "standin.ender" -}}
- name: main
  image: {{ include "standin.image" . }}
  command:
    - sh
    - -c
    - |
      {{- include "standin.script" (append . "0s") | trim | nindent 6 }}
{{- end }}
