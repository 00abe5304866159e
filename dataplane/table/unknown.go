package table

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// shape is where messages can stand in a message: the other fields needn't be looked at to find fields this version doesn't know.
type shape []struct {
	fd protoreflect.FieldDescriptor
	of shape
}

// shapes of the messages of config, by name.
var shapes = allShapes()

func allShapes() map[protoreflect.Name]shape {
	out := map[protoreflect.Name]shape{}
	all := configv1.File_hopgate_config_v1_config_proto.Messages()
	for i := range all.Len() {
		out[all.Get(i).Name()] = shapeOf(all.Get(i))
	}
	return out
}

// shapeOf ends because no message of config holds itself.
func shapeOf(md protoreflect.MessageDescriptor) (s shape) {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if fd.Message() == nil || fd.IsMap() {
			continue
		}
		s = append(s, shape{{fd, shapeOf(fd.Message())}}...)
	}
	return s
}

// holdsUnknown reports whether a message of this shape or one inside it has fields this version doesn't know.
func (s shape) holdsUnknown(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	for i := range s {
		f := &s[i]
		if !m.Has(f.fd) {
			continue
		}
		if !f.fd.IsList() {
			if f.of.holdsUnknown(m.Get(f.fd).Message()) {
				return true
			}
			continue
		}
		for list, j := m.Get(f.fd).List(), 0; j < list.Len(); j++ {
			if f.of.holdsUnknown(list.Get(j).Message()) {
				return true
			}
		}
	}
	return false
}
