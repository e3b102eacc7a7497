// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import "slices"

// secondaryRefuses are the operations that a replica in a secondary region does not allow. The page
// "Multi-Region replication for user pools" of the developer guide excludes creating users, and
// changing their passwords and profiles, and authenticator apps; the SDK's text on ReplicaRoleType
// excludes all settings that are not the replica's own. Which operations these are is a guess.
var secondaryRefuses = []string{
	"AdminAddUserToGroup", "AdminConfirmSignUp", "AdminCreateUser", "AdminDeleteUser", "AdminDeleteUserAttributes", "AdminDisableUser",
	"AdminEnableUser", "AdminRemoveUserFromGroup", "AdminResetUserPassword", "AdminSetUserMFAPreference", "AdminSetUserPassword",
	"AdminUpdateUserAttributes", "AdminUserGlobalSignOut", "AssociateSoftwareToken", "ChangePassword", "ConfirmForgotPassword",
	"CreateGroup", "CreateResourceServer", "CreateUserPoolClient", "CreateUserPoolReplica", "DeleteGroup", "DeleteUser",
	"DeleteUserAttributes", "DeleteUserPoolClient", "ForgotPassword", "GlobalSignOut", "SetUserMFAPreference", "SetUserPoolMfaConfig",
	"SignUp", "UpdateUserAttributes", "UpdateUserPool", "UpdateUserPoolClient", "VerifySoftwareToken",
}

type replicaInput struct {
	UserPoolId, RegionName string
}

type replicaOutput struct {
	UserPoolReplica replica
}

type replica struct {
	RegionName, Role, Status, UserPoolArn string
}

// createUserPoolReplica makes an active replica at once. At AWS it begins inactive and is activated
// by UpdateUserPoolReplica.
func (r *request) createUserPoolReplica(in replicaInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	if in.RegionName == p.region || len(p.replicas) > 0 {
		return nil, invalidParameter("User pool %s cannot have a replica in %s.", p.id, in.RegionName)
	}
	p.replicas = append(p.replicas, in.RegionName)
	return replicaOutput{replica{in.RegionName, "SECONDARY", "ACTIVE", r.server.poolARN(in.RegionName, p.id)}}, nil
}

// isIn reports whether the pool or a replica of it is in a region.
func (p *pool) isIn(region string) bool {
	return p.region == region || slices.Contains(p.replicas, region)
}

// refuseInReplica refuses what is sent to a replica and only the primary region allows. Requests
// without a signature name no region, and are taken for those of the primary one.
func (s *state) refuseInReplica(operation, region, poolID string) error {
	p, found := s.pools[poolID]
	if !found || !slices.Contains(p.replicas, region) || !slices.Contains(secondaryRefuses, operation) {
		return nil
	}
	return newException("OperationNotEnabledException", "%s is not enabled in region %s.", operation, region)
}
