// Package netlab makes several places out of one Linux machine: sites with a network stack of their own each, and links between them that are
// as slow, as lossy and as narrow as they are told to be.
//
// A site is a network namespace with a loopback interface and one tunnel device, on which it has one IPv4 address. The package reads the
// packets that a site sends and hands them to the site that has their destination address, after what the link between the two asks for: a
// delay each way, jitter, loss, a rate in bits per second. Packets of one direction never overtake each other. The conditions of a link can be
// changed while packets are on their way, and a link can be cut, which swallows packets without a word, and healed.
//
// It promises that nothing is left behind, however the process ends: the namespaces have no names and no files, so the kernel removes them
// with the last process inside, and the tunnels with this process. What waits on a link is bounded; what comes on top of it is dropped, as a
// router does. It promises that no packet leaves the machine or enters it: a site has no way out but the links, and only Forward, which copies
// single TCP connections between an address of this process and the same address inside a site, crosses the border.
//
// It refuses to run without what it needs, with a sentence that says what: Linux, CAP_SYS_ADMIN (root, or a user namespace made by
// `unshare -Urn`), /dev/net/tun, and for programs inside a site the command nsenter of util-linux. It knows IPv4 only. It is made for tests,
// not for speed: some ten thousand packets per second.
package netlab
