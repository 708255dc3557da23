package group

import "errors"

// The results of requests that fail, in addition to the errors of package
// coordinator. Test with errors.Is.
var (
	ErrInvalidGroup         = errors.New("the group id is empty")
	ErrSessionTimeout       = errors.New("the session time-out is out of bounds")
	ErrInconsistentProtocol = errors.New("the group's members have no such protocol in common")
	ErrMemberIDRequired     = errors.New("join again with the member id given")
	ErrUnknownMember        = errors.New("the group has no such member")
	ErrFencedInstance       = errors.New("another process has taken the instance id over")
	ErrIllegalGeneration    = errors.New("the group is in another generation")
	ErrRebalance            = errors.New("the group is rebalancing, join again")
	ErrGroupFull            = errors.New("the group has as many members as it may have")
	ErrNoMemory             = errors.New("the members of all groups hold as much memory as they may")
	ErrNotFound             = errors.New("there is no such group")
	ErrNotEmpty             = errors.New("the group has members")
	ErrSubscribed           = errors.New("the group is subscribed to the topic")
	ErrMetadataTooLarge     = errors.New("the metadata committed with an offset is too long")
)
