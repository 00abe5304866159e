package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/dataplane/table"
)

// followers are data planes with the real follower, table and state directory.
type followers struct {
	wg  sync.WaitGroup
	all []*follow.Follower
}

// start starts n of them.
func (f *followers) start(ctx context.Context, ca *authority, dir string, n int) error {
	for i := range n {
		name := fmt.Sprintf("real%02d", i)
		cfg, err := ca.client(name)
		if err != nil {
			return err
		}
		holder := new(table.Holder)
		holder.Store(table.New(table.Config{Region: region}))
		one, err := follow.New(follow.Config{Node: name, Region: region, Version: "fanout", Addresses: []string{syncAddr}, Dir: filepath.Join(dir, name),
			Table: holder,
			Dial: func(address string) (follow.Conn, error) {
				return grpc.NewClient("passthrough:///"+address, append(follow.DialOptions(), grpc.WithTransportCredentials(credentials.NewTLS(cfg)))...)
			}})
		if err != nil {
			return err
		}
		if _, err := one.Boot(); err != nil {
			return err
		}
		f.all = append(f.all, one)
		f.wg.Go(func() {
			if err := one.Run(ctx); err != nil {
				note("%s: %v", name, err)
			}
		})
	}
	return nil
}

// settle waits until all of them serve a revision.
func (f *followers) settle(ctx context.Context, revision int64) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, one := range f.all {
		for one.Status().Version.Revision < revision {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("a follower stands at revision %d, not %d", one.Status().Version.Revision, revision)
			}
		}
	}
	return nil
}
