package mailroom

import (
	"encoding/json"
	"math"
	"reflect"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"
)

const (
	maxDepth    = 32      // levels, counting the object itself; the contract's limit
	maxExactInt = 1 << 53 // beyond it a double skips integers
)

// Metadata is a message's JSON object. It is also an option of a send. Values are nil, booleans, numbers, strings, and slices and maps
// of these. Received numbers are float64, as encoding/json makes them; lists are []any, objects map[string]any.
//
// A value that would not arrive unchanged is refused before it is sent.
type Metadata map[string]any

// structFrom returns the metadata as the contract has it; the error is METADATA_INVALID or METADATA_TOO_DEEP.
func structFrom(metadata Metadata) (*structpb.Struct, error) {
	value, err := valueOf(reflect.ValueOf(map[string]any(metadata)), 1)
	if err != nil {
		return nil, err
	}
	return value.GetStructValue(), nil
}

func valueOf(value reflect.Value, depth int) (*structpb.Value, error) {
	switch value.Kind() {
	case reflect.Invalid:
		return structpb.NewNullValue(), nil
	case reflect.Interface, reflect.Pointer:
		return valueOf(value.Elem(), depth)
	case reflect.Bool:
		return structpb.NewBoolValue(value.Bool()), nil
	case reflect.String:
		if number, isNumber := value.Interface().(json.Number); isNumber {
			return numberValue(number)
		}
		return textValue(value.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		number := value.Int()
		if number > maxExactInt || number < -maxExactInt {
			return nil, invalidMetadata("contains %d, which would be rounded; send it as a string", number)
		}
		return structpb.NewNumberValue(float64(number)), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		number := value.Uint()
		if number > maxExactInt {
			return nil, invalidMetadata("contains %d, which would be rounded; send it as a string", number)
		}
		return structpb.NewNumberValue(float64(number)), nil
	case reflect.Float32, reflect.Float64:
		number := value.Float()
		if math.IsNaN(number) || math.IsInf(number, 0) {
			return nil, invalidMetadata("contains %v, which JSON does not support", number)
		}
		return structpb.NewNumberValue(number), nil
	case reflect.Slice, reflect.Array, reflect.Map:
		return compositeOf(value, depth)
	default:
		return nil, invalidMetadata("contains a %s, which JSON does not support", value.Type())
	}
}

func compositeOf(value reflect.Value, depth int) (*structpb.Value, error) {
	if depth > maxDepth {
		return nil, invalid(ErrMetadataTooDeep, "metadata", "metadata is nested deeper than %d levels", maxDepth)
	}
	if value.Kind() == reflect.Map {
		return objectOf(value, depth)
	}
	if value.Type().Elem().Kind() == reflect.Uint8 {
		return nil, invalidMetadata("contains a %s, which JSON does not support; encode it as a string", value.Type())
	}
	list := &structpb.ListValue{Values: make([]*structpb.Value, value.Len())}
	for i := range list.Values {
		item, err := valueOf(value.Index(i), depth+1)
		if err != nil {
			return nil, err
		}
		list.Values[i] = item
	}
	return structpb.NewListValue(list), nil
}

func objectOf(value reflect.Value, depth int) (*structpb.Value, error) {
	object := &structpb.Struct{Fields: make(map[string]*structpb.Value, value.Len())}
	for entries := value.MapRange(); entries.Next(); {
		if entries.Key().Kind() != reflect.String {
			return nil, invalidMetadata("has a key of type %s, but keys must be strings", entries.Key().Type())
		}
		key := entries.Key().String()
		if _, err := textValue(key); err != nil {
			return nil, err
		}
		item, err := valueOf(entries.Value(), depth+1)
		if err != nil {
			return nil, err
		}
		object.Fields[key] = item
	}
	return structpb.NewStructValue(object), nil
}

func textValue(text string) (*structpb.Value, error) {
	if !utf8.ValidString(text) {
		return nil, invalidMetadata("contains text that is not valid UTF-8")
	}
	return structpb.NewStringValue(text), nil
}

func numberValue(text json.Number) (*structpb.Value, error) {
	if whole, err := text.Int64(); err == nil {
		return valueOf(reflect.ValueOf(whole), maxDepth)
	}
	number, err := text.Float64()
	if err != nil {
		return nil, invalidMetadata("contains the number %s, which a double cannot hold", text)
	}
	return structpb.NewNumberValue(number), nil
}

func invalidMetadata(format string, args ...any) *Error {
	return invalid(ErrMetadataInvalid, "metadata", "metadata "+format, args...)
}
