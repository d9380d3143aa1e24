package deploy

// This file holds deploy/daemonset.yaml against Kubernetes' own description of its objects.

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// kubernetes has the OpenAPI description of its objects.
const kubernetes = "k8s.io/kubernetes@v1.34.2"

// documents gives the objects of a manifest.
func documents(t *testing.T, file string) (list []map[string]any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var o map[string]any
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, o)
	}
}

// strict lets no object of a schema have members that it does not describe.
func strict(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		if _, ok := s["properties"].(map[string]any); ok && s["additionalProperties"] == nil {
			s["additionalProperties"] = false
		}
		// Quantities and the like are texts that may be written as numbers.
		if f := s["format"]; f == "int-or-string" {
			delete(s, "type")
		}
		for _, v := range s {
			strict(v)
		}
	case []any:
		for _, v := range s {
			strict(v)
		}
	}
}

// validate holds an object against its schema.
func validate(t *testing.T, schemas map[string]any, object map[string]any) error {
	t.Helper()
	group, version, found := strings.Cut(object["apiVersion"].(string), "/")
	if !found {
		group, version = "core", group
	}
	name := "io.k8s.api." + group + "." + version + "." + object["kind"].(string)
	c := jsonschema.NewCompiler()
	if err := c.AddResource("kubernetes.json", schemas); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("kubernetes.json#/definitions/" + name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(plain)
}

// The manifest is what Kubernetes describes, and a word that is misspelt would be found.
func TestManifest(t *testing.T) {
	if testing.Short() {
		t.Skip("downloads a module of 18 MB")
	}
	cmd := exec.Command("go", "mod", "download", "-json", kubernetes)
	cmd.Dir = t.TempDir() // outside of acc's module, which does not need it
	out, err := cmd.Output()
	var module struct{ Dir, Error string }
	if err := errors.Join(err, json.Unmarshal(out, &module)); err != nil {
		t.Fatalf("%v %s", err, module.Error)
	}
	f, err := os.Open(filepath.Join(module.Dir, "api/openapi-spec/swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	schemas, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	strict(schemas)
	all := schemas.(map[string]any)
	for _, o := range documents(t, "daemonset.yaml") {
		if err := validate(t, all, o); err != nil {
			t.Error(err)
		}
	}
	wrong := documents(t, "daemonset.yaml")[1]
	container(t, wrong)["securityContext"].(map[string]any)["priviledged"] = true
	if validate(t, all, wrong) == nil {
		t.Error("a misspelt member is not found")
	}
}

// podOf gives the pod's specification of a DaemonSet.
func podOf(t *testing.T, daemonSet map[string]any) map[string]any {
	t.Helper()
	pod, ok := daemonSet["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	if !ok {
		t.Fatal("no template in it")
	}
	return pod
}

// container gives the only container of a DaemonSet.
func container(t *testing.T, daemonSet map[string]any) map[string]any {
	t.Helper()
	list, ok := podOf(t, daemonSet)["containers"].([]any)
	if !ok || len(list) != 1 {
		t.Fatal("not one container")
	}
	return list[0].(map[string]any)
}

// The manifest asks for no more than it says: not privileged, all capabilities dropped, and beside each that it
// adds a comment with the reason.
func TestManifestReasons(t *testing.T) {
	data, err := os.ReadFile("daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	security := container(t, documents(t, "daemonset.yaml")[1])["securityContext"].(map[string]any)
	if security["privileged"] != false || security["readOnlyRootFilesystem"] != true ||
		security["allowPrivilegeEscalation"] != false {
		t.Errorf("%v", security)
	}
	capabilities := security["capabilities"].(map[string]any)
	if drop := capabilities["drop"].([]any); !slices.Contains(drop, any("ALL")) {
		t.Errorf("dropped: %v", drop)
	}
	for _, c := range capabilities["add"].([]any) {
		if !regexp.MustCompile(`(?m)#.+\n +- ` + c.(string) + `$`).Match(data) {
			t.Errorf("no reason beside %v", c)
		}
	}
}
