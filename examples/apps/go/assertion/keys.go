package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"sync"
	"time"
)

// keySet holds the sidecar's public keys for a minute; a key id that it does not know asks again, every five seconds at most.
type keySet struct {
	url     string
	mutex   sync.Mutex
	fetched time.Time
	keys    map[string]*ecdsa.PublicKey
}

var client = http.Client{Timeout: 2 * time.Second}

func (s *keySet) find(id string) (*ecdsa.PublicKey, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	age := time.Since(s.fetched)
	if key := s.keys[id]; age > time.Minute || (key == nil && age > 5*time.Second) {
		if err := s.fetch(); err != nil && key == nil {
			return nil, err
		}
	}
	if key := s.keys[id]; key != nil {
		return key, nil
	}
	return nil, errInvalid
}

func (s *keySet) fetch() error {
	s.fetched = time.Now()
	response, err := client.Get(s.url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var set struct {
		Keys []struct{ Kid, Kty, Crv, X, Y string }
	}
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil {
		return err
	}
	keys := map[string]*ecdsa.PublicKey{}
	for _, key := range set.Keys {
		x, errX := base64.RawURLEncoding.DecodeString(key.X)
		y, errY := base64.RawURLEncoding.DecodeString(key.Y)
		if key.Kty != "EC" || key.Crv != "P-256" || errX != nil || errY != nil {
			continue
		}
		public := &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(x), Y: new(big.Int).SetBytes(y)}
		if public.Curve.IsOnCurve(public.X, public.Y) {
			keys[key.Kid] = public
		}
	}
	s.keys = keys
	return nil
}
