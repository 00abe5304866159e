// Package proto is the root of the wire contract: it hands out the generated description of the admin API's REST face.
//
// It promises the bytes that were generated together with the Go code beside them, and refuses nothing.
package proto

import _ "embed"

//go:embed gen/admin.swagger.json
var openAPI []byte

// OpenAPI returns the Swagger 2.0 document of the admin API as JSON. The bytes are shared: don't change them.
func OpenAPI() []byte { return openAPI }
