// Grafana reads a dashboard by Grafana's own SDK, which is generated from its schema, and prints the SQL of each panel
// and variable. What the schema does not know is an error. It is a module of its own: acc does not need the SDK.
//
//	cd testdata/export/grafana && go run . <../../../deploy/grafana-fleet.json
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	log.SetFlags(0)
	plugins.RegisterDefaultPlugins()
	raw, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	var strict, d dashboard.Dashboard
	// The SDK's empty list of errors is not nil.
	if err := strict.UnmarshalJSONStrict(raw); err != nil && err.Error() != "" {
		log.Fatal(err)
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		log.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		log.Fatal(err)
	}
	queries := map[string]string{}
	for _, v := range d.Templating.List {
		if v.Type == dashboard.VariableTypeQuery {
			queries["$"+v.Name] = *v.Query.String
		}
	}
	for _, p := range d.Panels {
		for _, target := range p.Panel.Targets {
			b, err := json.Marshal(target)
			if err != nil {
				log.Fatal(err)
			}
			var query struct{ RawSQL string }
			if err := json.Unmarshal(b, &query); err != nil {
				log.Fatal(err)
			}
			queries[*p.Panel.Title] = query.RawSQL
		}
	}
	b, _ := json.Marshal(queries)
	fmt.Printf("%s\n", b)
}
