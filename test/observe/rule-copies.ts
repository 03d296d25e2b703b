// Where deploy/observe/rules.yaml stands once more, as a PrometheusRule: kustomize reads no file outside its folder as anything
// but a ConfigMap, and a chart ships only what is in it. `node test/observe/rule-copies.ts` writes both anew.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const deploy = (path: string) => new URL(`../../deploy/${path}`, import.meta.url);
const indented = (text: string) => text.replace(/^(?=.)/gm, '  ');
const origin = '# Made from deploy/observe/rules.yaml by `node test/observe/rule-copies.ts`; change that file.';

/** The copies as they must be, by path. */
export function ruleCopies(): ReadonlyMap<URL, string> {
  const groups = readFileSync(deploy('observe/rules.yaml'), 'utf8').replace(/^(?:#.*\n)+/, '');
  // One raw string, because the annotations are templates of Prometheus and not of Helm.
  if (groups.includes('`')) throw new Error('rules.yaml holds a backtick, which a raw string of a template cannot');
  const kustomize = `${origin}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: doorward
  labels: {app.kubernetes.io/name: doorward}
spec:
${indented(groups)}`;
  const helm = `{{- if .Values.prometheusRule.enabled }}
${origin}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ include "doorward.name" . }}
  labels: {{- include "doorward.labels" . | nindent 4 }}
    {{- with .Values.prometheusRule.labels }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
{{\`${indented(groups)}\`}}
{{- end }}
`;
  return new Map([
    [deploy('kubernetes/monitoring/prometheus-rule.yaml'), kustomize],
    [deploy('helm/doorward/templates/prometheus-rule.yaml'), helm],
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [file, text] of ruleCopies()) writeFileSync(file, text);
