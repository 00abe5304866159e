package netlab

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// device is the tunnel's name inside every site.
const device = "site0"

// elsewhere runs fn on a thread that may change its network namespace, and takes the thread back to the one it came from.
func elsewhere(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // if the way back fails, it stays locked and the thread dies with this goroutine
		home, err := thisNamespace()
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		err = fn()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			if err == nil {
				err = fmt.Errorf("return from a network namespace: %w", back)
			}
			done <- err
			return
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

func thisNamespace() (*os.File, error) { return os.Open("/proc/thread-self/ns/net") }

// makeNamespace makes a network namespace with a loopback and a tunnel that has the address. The namespace lives as long as the first file is
// open; the tunnel's packets are read from and written to the second.
func makeNamespace(address [4]byte) (namespace, tunnel *os.File, err error) {
	err = elsewhere(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w: it needs CAP_SYS_ADMIN; run as root, or inside `unshare -Urn`", err)
		}
		if namespace, err = thisNamespace(); err != nil {
			return err
		}
		if tunnel, err = openTunnel(); err != nil {
			return err
		}
		return configure(address)
	})
	if err != nil {
		return nil, nil, errors.Join(err, closeAll(namespace, tunnel))
	}
	return namespace, tunnel, nil
}

// openTunnel makes the tunnel in the thread's namespace.
func openTunnel() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w: the kernel's tun module and a device file that may be opened are needed", err)
	}
	request, err := unix.NewIfreq(device)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a tunnel: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), device), nil // only now: before, it can't be polled
}

// configure brings up the interfaces of the thread's namespace.
func configure(address [4]byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("configure a site: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // it carried requests only
	if err := setAddress(fd, unix.SIOCSIFADDR, address[:]); err != nil {
		return err
	}
	if err := setAddress(fd, unix.SIOCSIFNETMASK, []byte{255, 255, 255, 0}); err != nil {
		return err
	}
	return errors.Join(up(fd, "lo"), up(fd, device))
}

func setAddress(fd int, what uint, value []byte) error {
	request, err := unix.NewIfreq(device)
	if err == nil {
		err = request.SetInet4Addr(value)
	}
	if err == nil {
		err = unix.IoctlIfreq(fd, what, request)
	}
	if err != nil {
		return fmt.Errorf("address of %s: %w", device, err)
	}
	return nil
}

func up(fd int, name string) error {
	request, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request)
	}
	if err == nil {
		request.SetUint16(request.Uint16() | unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
	}
	if err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	return nil
}

func closeAll(files ...*os.File) error {
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
