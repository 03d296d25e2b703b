// An application that believes nobody: it verifies Doorward's signed assertion (identity_assertion: {enabled: true}),
// with the standard library alone.
//
//	AUDIENCE=shop JWKS_URL=http://127.0.0.1:8080/.doorward/assertion/jwks.json go run ./assertion
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "3000"
	}
	expected := verifier{
		keys:     &keySet{url: os.Getenv("JWKS_URL")},
		audience: os.Getenv("AUDIENCE"),
		issuer:   "doorward",
	}
	if expected.audience == "" || expected.keys.url == "" {
		log.Fatal("AUDIENCE (the name of the sidecar before this application) and JWKS_URL are needed")
	}
	answer := func(response http.ResponseWriter, request *http.Request) {
		response.Header().Set("Content-Type", "application/json")
		claims, err := expected.verify(request.Header.Get("X-Auth-Assertion"))
		if err != nil {
			response.WriteHeader(http.StatusUnauthorized)
			json.NewEncoder(response).Encode(map[string]string{"error": "no valid assertion"})
			return
		}
		caller := map[string]any{"subject": claims.Subject, "roles": claims.Roles}
		json.NewEncoder(response).Encode(map[string]any{"path": request.URL.Path, "caller": caller})
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(answer)))
}
