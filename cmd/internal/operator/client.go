// Package operator is what the operators' commands do: talk to the admin API, read config files, print objects and the fleet.
//
// It promises that a file is read, checked and sent as one change or not at all, and that output formats are stable for scripts. It refuses
// to read the environment into anything but secret values, and to print a key twice.
package operator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// MasterKeyFile is the name of the master key's file in a data directory.
const MasterKeyFile = "master.key"

// FindKey returns the key that was given, else the master key that `up` or `control` keeps in dataDir. Without either the error is
// fs.ErrNotExist and says what to do.
func FindKey(given, dataDir string) (string, error) {
	if given != "" {
		return given, nil
	}
	path := filepath.Join(dataDir, MasterKeyFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no key: give --api-key, set HOPGATE_MASTER_KEY, or name the process's --data-dir (%s: %w)", path, fs.ErrNotExist)
	}
	if err != nil {
		return "", fmt.Errorf("no key: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Access says how to reach the admin API.
type Access struct {
	// API is its URL, http or https.
	API string
	// Key is an admin or viewer key.
	Key string
	// TLS for https; nil: the system's CAs.
	TLS *tls.Config
}

// Client speaks to the admin API.
type Client struct {
	adminv1.AdminServiceClient
	conn *grpc.ClientConn
}

// Connect prepares a client; nothing is dialled before the first call.
func Connect(a Access) (*Client, error) {
	u, err := baseOf("--api", a.API, "http://127.0.0.1:4001")
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if u.Scheme == "https" {
		if a.TLS == nil {
			a.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		creds = credentials.NewTLS(a.TLS)
	}
	conn, err := grpc.NewClient("passthrough:///"+withPort(u), grpc.WithTransportCredentials(creds), grpc.WithUnaryInterceptor(bearer(a.Key)),
		grpc.WithStreamInterceptor(streamBearer(a.Key)))
	if err != nil {
		return nil, fmt.Errorf("--api: %w", err)
	}
	return &Client{AdminServiceClient: adminv1.NewAdminServiceClient(conn), conn: conn}, nil
}

// baseOf reads the URL of a flag: scheme, host and port only.
func baseOf(flag, given, like string) (*url.URL, error) {
	u, err := url.Parse(given)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%s isn't a URL like %s, with nothing behind the port", flag, like)
	}
	return u, nil
}

func withPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "https" {
		return u.Host + ":443"
	}
	return u.Host + ":80"
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

func streamBearer(key string) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key), desc, cc, method, opts...)
	}
}

func bearer(key string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return invoke(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key), method, req, reply, cc, opts...)
	}
}
