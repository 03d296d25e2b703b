// Renders Helm charts for tests where helm itself cannot be installed: the template engine of Go and the sprig functions, which
// are what Helm is made of, and the few functions that Helm adds. Strict (`helm template --strict`): a value that is not there
// is an error. Not here: hooks, lookup in a cluster, charts from elsewhere, .Files, .Capabilities.
//
//	helm-render CHART RELEASE VALUES.json      rendered text of every template on standard output, separated by ---
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	yaml "gopkg.in/yaml.v3"
)

type values = map[string]interface{}

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: helm-render CHART RELEASE VALUES.json"))
	}
	folder, release, overrides := os.Args[1], os.Args[2], readYaml(os.Args[3])
	chart := readYaml(filepath.Join(folder, "Chart.yaml"))
	all := readYaml(filepath.Join(folder, "values.yaml"))
	engine := template.New("chart").Option("missingkey=error")
	engine.Funcs(functions(engine))
	for name, library := range dependencies(folder, chart) {
		defaults := readYaml(filepath.Join(library, "values.yaml"))
		own, _ := all[name].(values)
		all[name] = merged(defaults, own)
		parse(engine, library)
	}
	names := parse(engine, folder)
	data := values{
		"Values":  merged(all, overrides),
		"Chart":   titled(chart),
		"Release": values{"Name": release, "Namespace": "default", "Service": "Helm", "IsInstall": true, "IsUpgrade": false, "Revision": 1},
	}
	for _, name := range names {
		var out bytes.Buffer
		data["Template"] = values{"Name": name}
		if err := engine.ExecuteTemplate(&out, name, data); err != nil {
			fail(err)
		}
		fmt.Printf("---\n# Source: %s\n%s\n", name, out.String())
	}
}

// The functions that Helm adds to those of sprig; env and expandenv are taken away as Helm does.
func functions(engine *template.Template) template.FuncMap {
	all := sprig.TxtFuncMap()
	delete(all, "env")
	delete(all, "expandenv")
	all["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := engine.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	all["toYaml"] = func(value interface{}) (string, error) {
		var out bytes.Buffer
		encoder := yaml.NewEncoder(&out)
		encoder.SetIndent(2)
		err := encoder.Encode(value)
		return strings.TrimSuffix(out.String(), "\n"), err
	}
	all["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, fmt.Errorf("%s", message)
		}
		return value, nil
	}
	return all
}

// Folders of the libraries that a chart names with file://, by name.
func dependencies(folder string, chart values) map[string]string {
	found := map[string]string{}
	list, _ := chart["dependencies"].([]interface{})
	for _, entry := range list {
		one := entry.(values)
		repository := one["repository"].(string)
		if !strings.HasPrefix(repository, "file://") {
			fail(fmt.Errorf("%s is not beside the chart", repository))
		}
		path := filepath.Join(folder, strings.TrimPrefix(repository, "file://"))
		library := readYaml(filepath.Join(path, "Chart.yaml"))
		if library["type"] != "library" || library["version"] != one["version"] || library["name"] != one["name"] {
			fail(fmt.Errorf("%s is not the library %v %v", path, one["name"], one["version"]))
		}
		found[one["name"].(string)] = path
	}
	return found
}

// Reads every template of a chart; the names of those that make something, in order.
func parse(engine *template.Template, folder string) []string {
	files, err := filepath.Glob(filepath.Join(folder, "templates", "*"))
	if err != nil {
		fail(err)
	}
	names := []string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			fail(err)
		}
		name := filepath.Base(filepath.Dir(filepath.Dir(file))) + "/templates/" + filepath.Base(file)
		if _, err := engine.New(name).Parse(string(text)); err != nil {
			fail(err)
		}
		if !strings.HasPrefix(filepath.Base(file), "_") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// The second over the first, map by map; null takes a key away.
func merged(below, above values) values {
	result := values{}
	for key, value := range below {
		result[key] = value
	}
	for key, value := range above {
		inner, isMap := value.(values)
		before, wasMap := result[key].(values)
		switch {
		case value == nil:
			delete(result, key)
		case isMap && wasMap:
			result[key] = merged(before, inner)
		default:
			result[key] = value
		}
	}
	return result
}

// Chart.yaml as templates see it: .Chart.Name for name.
func titled(chart values) values {
	result := values{}
	for key, value := range chart {
		result[strings.ToUpper(key[:1])+key[1:]] = value
	}
	return result
}

func readYaml(file string) values {
	text, err := os.ReadFile(file)
	if err != nil {
		fail(err)
	}
	result := values{}
	if err := yaml.Unmarshal(text, &result); err != nil {
		fail(fmt.Errorf("%s: %w", file, err))
	}
	return floats(result).(values)
}

// Helm reads values through JSON, so that every number is a float64 to templates.
func floats(value interface{}) interface{} {
	switch value := value.(type) {
	case values:
		for key, inner := range value {
			value[key] = floats(inner)
		}
	case []interface{}:
		for index, inner := range value {
			value[index] = floats(inner)
		}
	case int:
		return float64(value)
	}
	return value
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
