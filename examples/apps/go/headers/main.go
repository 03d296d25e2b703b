// An application that believes Doorward's headers. Nobody else can reach it: it listens on loopback, beside Doorward.
//
//	go run ./headers
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
)

type caller struct {
	Subject string   `json:"subject"`
	Issuer  string   `json:"issuer"`
	Client  string   `json:"client"`
	Tenant  string   `json:"tenant"`
	Scopes  []string `json:"scopes"`
	Roles   []string `json:"roles"`
}

// decoded undoes the percent-encoding of what is not plain ASCII. Doorward writes it well, so an error cannot happen.
func decoded(value string) string {
	text, err := url.PathUnescape(value)
	if err != nil {
		return value
	}
	return text
}

// listOf splits first and decodes then, so that a separator within an element stays in it.
func listOf(value, separator string) []string {
	list := []string{}
	for _, element := range strings.Split(value, separator) {
		if element != "" {
			list = append(list, decoded(element))
		}
	}
	return list
}

// callerOf says who is calling; nil for requests without a token (routes with auth: optional or none).
func callerOf(header http.Header) *caller {
	if header.Get("X-Auth-Issuer") == "" {
		return nil
	}
	return &caller{
		Subject: decoded(header.Get("X-Auth-Subject")),
		Issuer:  decoded(header.Get("X-Auth-Issuer")),
		Client:  decoded(header.Get("X-Auth-Client")),
		Tenant:  decoded(header.Get("X-Auth-Tenant")),
		Scopes:  listOf(header.Get("X-Auth-Scopes"), " "),
		Roles:   listOf(header.Get("X-Auth-Roles"), ","),
	}
}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "3000"
	}
	answer := func(response http.ResponseWriter, request *http.Request) {
		response.Header().Set("Content-Type", "application/json")
		json.NewEncoder(response).Encode(map[string]any{"path": request.URL.Path, "caller": callerOf(request.Header)})
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(answer)))
}
