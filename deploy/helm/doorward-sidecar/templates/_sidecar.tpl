{{/*
What your Deployment includes; ../../example shows all of it in place. The same pod as deploy/kubernetes makes with kustomize.

  spec.template.metadata.labels                          doorward-sidecar.labels
  spec.template.spec.terminationGracePeriodSeconds       doorward-sidecar.gracePeriod
  spec.template.spec.initContainers                      doorward-sidecar.initContainer
  spec.template.spec.containers[0].lifecycle             doorward-sidecar.applicationWaits
  spec.template.spec.volumes                             doorward-sidecar.volumes
*/}}
{{- define "doorward-sidecar.labels" -}}
doorward.dev/sidecar: "true"
{{- end -}}

{{/* The drain, and as much again for the application and for what is left. */}}
{{- define "doorward-sidecar.gracePeriod" -}}
{{- mul 2 (index .Values "doorward-sidecar").drainSeconds -}}
{{- end -}}

{{/* A native sidecar: starts before the application, gets SIGTERM after it. */}}
{{- define "doorward-sidecar.initContainer" -}}
{{- $values := index .Values "doorward-sidecar" -}}
- name: doorward
  image: {{ $values.image }}
  imagePullPolicy: {{ $values.imagePullPolicy }}
  restartPolicy: Always
  args: [run, {{ if $values.production }}--production, {{ end }}--config, /etc/doorward/sidecar.yaml]
  {{- with $values.env }}
  env: {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - {name: proxy, containerPort: 8080}
    - {name: doorward-observe, containerPort: 9902}
  startupProbe:
    httpGet: {path: /healthz, port: 9902}
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /healthz, port: 9902}
    periodSeconds: 10
    timeoutSeconds: 3
    failureThreshold: 3
  readinessProbe:
    httpGet: {path: /readyz, port: 9902}
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 2
  lifecycle:
    preStop:
      exec:
        command: [/usr/local/bin/doorward, drain, --wait, {{ $values.drainSeconds }}s, --config, /etc/doorward/sidecar.yaml]
  resources: {{- toYaml $values.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    capabilities: {drop: [ALL]}
    seccompProfile: {type: RuntimeDefault}
  volumeMounts:
    - {name: doorward-config, mountPath: /etc/doorward, readOnly: true}
    - {name: doorward-secrets, mountPath: /run/secrets/doorward, readOnly: true}
    - {name: doorward-state, mountPath: /var/lib/doorward}
{{- end -}}

{{/* The application goes on serving while the sidecar drains. */}}
{{- define "doorward-sidecar.applicationWaits" -}}
preStop:
  sleep: {seconds: {{ (index .Values "doorward-sidecar").drainSeconds }}}
{{- end -}}

{{- define "doorward-sidecar.volumes" -}}
{{- $values := index .Values "doorward-sidecar" -}}
- name: doorward-config
  configMap: {name: {{ $values.configMap }}}
- name: doorward-secrets
  secret: {secretName: {{ $values.secret }}}
- name: doorward-state
  emptyDir: {sizeLimit: 64Mi}
{{- end -}}
