package main

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"time"
)

type header struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	KeyID     string `json:"kid"`
}

type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	Expires  float64  `json:"exp"`
	Roles    []string `json:"roles"`
}

// audience is one text or a list of them (RFC 7519).
type audience []string

func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

func (a audience) holds(name string) bool {
	for _, each := range a {
		if each == name {
			return true
		}
	}
	return false
}

var errInvalid = errors.New("no valid assertion")

type verifier struct {
	keys     *keySet
	audience string
	issuer   string
}

// verify returns the claims of a good assertion. It looks at typ (no other kind of token counts), alg, signature, iss,
// aud (an assertion for another application is none for us) and exp.
func (v verifier) verify(assertion string) (*claims, error) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return nil, errInvalid
	}
	var head header
	if decode(parts[0], &head) != nil || head.Type != "assertion+jwt" || head.Algorithm != "ES256" {
		return nil, errInvalid
	}
	key, err := v.keys.find(head.KeyID)
	if err != nil || !signed(key, parts) {
		return nil, errInvalid
	}
	var body claims
	if decode(parts[1], &body) != nil || body.Issuer != v.issuer || !body.Audience.holds(v.audience) {
		return nil, errInvalid
	}
	if float64(time.Now().Unix()) >= body.Expires {
		return nil, errInvalid
	}
	return &body, nil
}

func decode(part string, into any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// signed checks an ES256 signature: r and s, 32 bytes each (RFC 7518, 3.4).
func signed(key *ecdsa.PublicKey, parts []string) bool {
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return false
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}
